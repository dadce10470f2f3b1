//! Decides what has to be said of secrets that stay in the file which was read.

use super::{foreign::Foreign, shown};

/// Points out what SDKs and aliyun-cli have written into a profile which has other ways to
/// it: they do so after each run of an External command, after each login in a browser, and
/// after each exchange of some others.
pub(super) fn leftovers(foreign: &Foreign) -> Vec<String> {
    let mode = foreign.mode().to_ascii_lowercase();
    let session = match mode.as_str() {
        "ststoken" => false,
        "external" => foreign.has("access_key_secret") || foreign.has("sts_token"),
        _ => foreign.has("sts_token"),
    };
    let mut keys = vec!["access_token", "oauth_access_token"];
    if session {
        keys.extend(["access_key_secret", "sts_token"]);
    }
    keys.retain(|it| foreign.has(it));
    if keys.is_empty() {
        return Vec::new();
    }
    let id = foreign.text("access_key_id").ok().flatten();
    let id = id.filter(|it| session && it.starts_with("STS.") && it.len() <= 128);
    let id = id.map_or_else(String::new, |it| format!(" of {}", shown(&it)));
    let whose = if session { "session" } else { "login" };
    vec![format!(
        "a {whose}'s secrets{id} stand in it in clear text ({}): an SDK or aliyun-cli has \
         written them back; they end by themselves, and the next run writes others, until \
         programs ask stsd instead",
        keys.join(", ")
    )]
}

/// Returns the profiles with secrets that do not end.
pub(super) fn long_lived(profiles: &[Foreign]) -> Vec<String> {
    let has = |foreign: &&Foreign| {
        let mode = foreign.mode().to_ascii_lowercase();
        let key = foreign.has("access_key_secret") && !foreign.has("sts_token");
        let others = ["private_key", "bearer_token", "oauth_refresh_token"];
        (key && mode != "external") || others.iter().any(|it| foreign.has(it))
    };
    profiles.iter().filter(has).map(Foreign::label).collect()
}
