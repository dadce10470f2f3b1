//! The daemon's limits for values, so that an invalid profile is skipped alone. The numbers are
//! from the public API metadata of STS.

use super::parsed_profile::SkipReason;

/// Checks an AccessKey id.
///
/// # Errors
/// The problem, as a sentence about a profile.
pub fn access_key_id(id: &str) -> Result<(), String> {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b".-_".contains(&it);
    if id.len() > 128 || !id.bytes().all(plain) {
        return refuse("its access_key_id is none: they are letters and digits");
    }
    if id.starts_with("STS.") {
        return refuse(
            "its access_key_id is that of a session, which ends and cannot be renewed: a RAM \
             user's begins with LTAI",
        );
    }
    Ok(())
}

/// Checks an AccessKey secret; the error does not quote it.
///
/// # Errors
/// The problem, as a sentence about a profile.
pub fn access_key_secret(secret: &str) -> Result<(), String> {
    if secret.len() > 1024 || !secret.bytes().all(|it| it.is_ascii_graphic()) {
        return refuse("its access_key_secret is none: they are letters and digits");
    }
    Ok(())
}

pub(super) fn role_arn(arn: &str) -> Result<(), SkipReason> {
    let allowed = |c: char| c.is_alphanumeric() || "._-@".contains(c);
    if is_arn(arn, "role", 64, allowed) {
        return Ok(());
    }
    refuse("its ram_role_arn is not acs:ram::<account number>:role/<role name>")
}

pub(super) fn provider_arn(arn: &str) -> Result<(), SkipReason> {
    let allowed = |c: char| c.is_alphanumeric() || "._-@".contains(c);
    if is_arn(arn, "oidc-provider", 128, allowed) {
        return Ok(());
    }
    refuse("its oidc_provider_arn is not acs:ram::<account number>:oidc-provider/<name>")
}

fn is_arn(arn: &str, kind: &str, longest: usize, allowed: impl Fn(char) -> bool) -> bool {
    let rest = arn.strip_prefix("acs:ram::");
    let parts = rest.and_then(|it| it.split_once(':'));
    parts.is_some_and(|(account, rest)| {
        let name = rest.strip_prefix(kind).and_then(|it| it.strip_prefix('/'));
        (1..=32).contains(&account.len())
            && account.bytes().all(|it| it.is_ascii_digit())
            && name.is_some_and(|it| (1..=longest).contains(&it.chars().count()))
            && name.is_some_and(|it| it.chars().all(allowed))
    })
}

pub(super) fn session_name(name: &str) -> Result<(), SkipReason> {
    let allowed = |it: u8| it.is_ascii_alphanumeric() || b".@_-".contains(&it);
    if (2..=64).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    refuse("its ram_session_name is not 2 to 64 of A-Z a-z 0-9 . @ _ -")
}

pub(super) fn external_id(id: &str) -> Result<(), SkipReason> {
    let allowed = |it: u8| it.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&it);
    if (2..=1224).contains(&id.len()) && id.bytes().all(allowed) {
        return Ok(());
    }
    refuse("its external_id is not 2 to 1224 of A-Z a-z 0-9 _ + = , . @ : / -")
}

/// Checks a session policy. Its length counts without white space, which approximates the size
/// that STS measures.
pub(super) fn policy(text: &str) -> Result<(), SkipReason> {
    let Ok(document) = serde_json::from_str::<serde_json::Value>(text) else {
        return refuse("its policy is no JSON document");
    };
    let version = document.get("Version").and_then(|it| it.as_str());
    if version != Some("1") || document.get("Statement").is_none() {
        return refuse("its policy holds no \"Version\": \"1\" with a \"Statement\"");
    }
    if document.to_string().len() > 2048 {
        return refuse("its policy is longer than the 2048 bytes that STS takes");
    }
    Ok(())
}

/// Checks the role name of an instance.
pub(super) fn role_name(name: &str) -> Result<(), SkipReason> {
    let allowed = |it: u8| it.is_ascii_alphanumeric() || b".-_@".contains(&it);
    if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    refuse("its ram_role_name is not 1 to 64 of A-Z a-z 0-9 . - _ @")
}

/// Checks the path of a file.
pub(super) fn path(path: &str, key: &str) -> Result<(), SkipReason> {
    if !path.starts_with('/') {
        return refuse(&format!(
            "its {key} is no absolute path, so that it would be another file in another directory"
        ));
    }
    if path.contains(char::is_control) {
        return refuse(&format!("its {key} holds control characters"));
    }
    Ok(())
}

/// Returns a number of seconds in the form of stsd's configuration.
pub(super) fn duration(seconds: u64) -> Result<String, SkipReason> {
    if !(900..=43_200).contains(&seconds) {
        return refuse("its expired_seconds is not 900 to 43200, which is what STS takes");
    }
    Ok(match seconds {
        hours if hours.is_multiple_of(3600) => format!("{}h", hours / 3600),
        minutes if minutes.is_multiple_of(60) => format!("{}m", minutes / 60),
        seconds => format!("{seconds}s"),
    })
}

fn refuse<T>(problem: &str) -> Result<T, SkipReason> {
    Err(problem.to_owned())
}
