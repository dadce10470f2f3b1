//! Secrets that remain in the files of aliyun-cli and the SDKs.

use super::{parsed_profile::ThirdPartyProfile, printable};

/// The findings about a file, as names of profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleSecrets {
    /// Profiles into which an SDK wrote the secrets of a session.
    pub written_back: Vec<String>,
    /// Profiles with secrets that do not expire.
    pub long_lived: Vec<String>,
    /// Profiles whose quoted command some versions split at each space.
    pub quoted: Vec<String>,
}

impl StaleSecrets {
    pub(super) fn of(profiles: &[ThirdPartyProfile]) -> Self {
        let labels = |is: fn(&ThirdPartyProfile) -> bool| {
            let those = profiles.iter().filter(|it| is(it));
            those.map(ThirdPartyProfile::label).collect()
        };
        Self {
            written_back: labels(|it| !stale_secrets(it).is_empty()),
            long_lived: long_lived(profiles),
            quoted: labels(|it| {
                let command = it.text("process_command").ok().flatten();
                command.is_some_and(|it| it.contains(['"', '\'', '\\']))
            }),
        }
    }
}

/// Returns a remark on session secrets that an SDK or aliyun-cli wrote into a profile. They do
/// so after each run of an External command, each login in a browser, and each exchange of some
/// other modes.
pub(super) fn stale_secrets(profile: &ThirdPartyProfile) -> Vec<String> {
    let mode = profile.mode().to_ascii_lowercase();
    let session = match mode.as_str() {
        "ststoken" => false,
        "external" => profile.has("access_key_secret") || profile.has("sts_token"),
        _ => profile.has("sts_token"),
    };
    let mut keys = vec!["access_token", "oauth_access_token"];
    if session {
        keys.extend(["access_key_secret", "sts_token"]);
    }
    keys.retain(|it| profile.has(it));
    if keys.is_empty() {
        return Vec::new();
    }
    let id = profile.text("access_key_id").ok().flatten();
    let id = id.filter(|it| session && it.starts_with("STS.") && it.len() <= 128);
    let id = id.map_or_else(String::new, |it| format!(" of {}", printable(&it)));
    let whose = if session { "session" } else { "login" };
    vec![format!(
        "a {whose}'s secrets{id} stand in it in clear text ({}): an SDK or aliyun-cli has \
         written them back; they end by themselves, and the next run writes others, until \
         programs ask stsd instead",
        keys.join(", ")
    )]
}

/// Returns the profiles with secrets that do not expire.
pub(super) fn long_lived(profiles: &[ThirdPartyProfile]) -> Vec<String> {
    let has = |profile: &&ThirdPartyProfile| {
        let mode = profile.mode().to_ascii_lowercase();
        let key = profile.has("access_key_secret") && !profile.has("sts_token");
        let others = ["private_key", "bearer_token", "oauth_refresh_token"];
        (key && mode != "external") || others.iter().any(|it| profile.has(it))
    };
    profiles
        .iter()
        .filter(has)
        .map(ThirdPartyProfile::label)
        .collect()
}
