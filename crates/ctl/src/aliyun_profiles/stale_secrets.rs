//! Secrets that remain in the files of aliyun-cli and the SDKs, by their kinds: the advice depends on
//! the kind.

use super::{mode::Mode, parsed_profile::ThirdPartyProfile, printable};

/// The findings about a file, as names of profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleSecrets {
    /// Profiles into which an SDK wrote the secrets of a session.
    pub written_back: Vec<String>,
    /// Profiles with an AccessKey, which does not expire, that can be imported.
    pub long_lived: Vec<String>,
    /// Profiles with an AccessKey that cannot be imported.
    pub unimportable: Vec<NotImported>,
    /// Profiles with a login of aliyun-cli, which ends by itself.
    pub logins: Vec<String>,
    /// Profiles with a secret of a mode that stsd cannot use.
    pub unusable: Vec<NotImported>,
    /// `true` if the file holds a secret of any kind.
    pub has_secret: bool,
    /// Profiles whose quoted command some versions split at each space.
    pub quoted: Vec<String>,
}

/// A profile that an import skips, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotImported {
    /// The name of the profile.
    pub label: String,
    /// The reason, in the words of the import.
    pub reason: String,
}

/// The kind of the secrets of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretKind {
    /// An AccessKey of a RAM user or an account.
    LongLived,
    /// A copied session, which ends.
    Session,
    /// A session that an SDK or aliyun-cli wrote into the profile of a renewable identity.
    WrittenBack,
    /// The tokens of a login of aliyun-cli, which renews or replaces them.
    Login,
    /// A key pair or a bearer token.
    Unusable,
}

impl SecretKind {
    /// Returns the kind of a profile's secrets; `None` for a profile without any.
    pub(super) fn of(profile: &ThirdPartyProfile) -> Option<Self> {
        let has_any = |keys: &[&str]| keys.iter().any(|it| profile.has(it));
        let has_session = || {
            let id = profile.text("access_key_id").ok().flatten();
            profile.has("sts_token") || id.is_some_and(|it| it.trim().starts_with("STS."))
        };
        let mode = profile.mode().ok();
        match mode {
            Some(Mode::CloudSso | Mode::OAuth) => has_any(&[
                "access_token",
                "oauth_access_token",
                "oauth_refresh_token",
                "access_key_secret",
            ])
            .then_some(Self::Login),
            Some(Mode::RsaKeyPair) => profile.has("private_key").then_some(Self::Unusable),
            Some(Mode::BearerToken) => profile.has("bearer_token").then_some(Self::Unusable),
            _ if !has_any(&["access_key_secret", "sts_token"]) => None,
            // aliyun-cli sends no token in this mode.
            Some(Mode::AccessKey) => Some(Self::LongLived),
            Some(Mode::StsToken | Mode::RamRoleArn) | None if has_session() => Some(Self::Session),
            Some(Mode::StsToken) => Some(Self::Session),
            Some(Mode::External) => Some(Self::WrittenBack),
            _ if has_session() => Some(Self::WrittenBack),
            _ => Some(Self::LongLived),
        }
    }
}

impl StaleSecrets {
    /// Returns the findings; `refusals` has the reason for each profile that an import skips.
    pub(super) fn of(profiles: &[ThirdPartyProfile], refusals: &[Option<String>]) -> Self {
        let kinds: Vec<_> = profiles.iter().map(SecretKind::of).collect();
        let each = || profiles.iter().zip(&kinds).zip(refusals);
        let labels = |kind: SecretKind| {
            let matching = each().filter(move |((_, it), _)| **it == Some(kind));
            matching.map(|((profile, _), _)| profile.label()).collect()
        };
        let skipped = |kind: SecretKind| -> Vec<NotImported> {
            let matching = each().filter(|((_, it), _)| **it == Some(kind));
            let skipped = matching.filter_map(|((profile, _), refusal)| {
                let (label, reason) = (profile.label(), refusal.clone()?);
                Some(NotImported { label, reason })
            });
            skipped.collect()
        };
        let unimportable = skipped(SecretKind::LongLived);
        let is_importable = |label: &String| unimportable.iter().all(|it| it.label != *label);
        let all_long_lived: Vec<String> = labels(SecretKind::LongLived);
        Self {
            written_back: labels(SecretKind::WrittenBack),
            long_lived: all_long_lived.into_iter().filter(is_importable).collect(),
            logins: labels(SecretKind::Login),
            unusable: skipped(SecretKind::Unusable),
            has_secret: kinds.iter().any(Option::is_some),
            quoted: profiles
                .iter()
                .filter(|it| has_quoted_command(it))
                .map(ThirdPartyProfile::label)
                .collect(),
            unimportable,
        }
    }
}

fn has_quoted_command(profile: &ThirdPartyProfile) -> bool {
    let command = profile.text("process_command").ok().flatten();
    command.is_some_and(|it| it.contains(['"', '\'', '\\']))
}

/// Returns a remark on the session or the login that the profile holds.
pub(super) fn stale_secrets(profile: &ThirdPartyProfile) -> Vec<String> {
    let mut keys = vec![
        "access_token",
        "oauth_access_token",
        "oauth_refresh_token",
        "access_key_secret",
        "sts_token",
    ];
    keys.retain(|it| profile.has(it));
    let keys = keys.join(", ");
    match SecretKind::of(profile) {
        Some(SecretKind::WrittenBack) => {
            let id = profile.text("access_key_id").ok().flatten();
            let id = id.filter(|it| it.starts_with("STS.") && it.len() <= 128);
            let id = id.map_or_else(String::new, |it| format!(" of {}", printable(&it)));
            vec![format!(
                "a session's secrets{id} stand in it in clear text ({keys}): an SDK or aliyun-cli \
                 has written them back; they end by themselves, and the next run writes others, \
                 until programs ask stsd instead"
            )]
        }
        Some(SecretKind::Login) => vec![format!(
            "a login of aliyun-cli stands in it in clear text ({keys}): it ends by itself, and \
             aliyun-cli needs it until then"
        )],
        _ => Vec::new(),
    }
}
