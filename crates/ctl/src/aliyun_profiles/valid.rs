//! The daemon's limits for values, so that an invalid profile is skipped alone.

use std::time::Duration;

use stsd_model::{
    Invalid, RoleArn, RoleSessionName, SessionDuration, SessionPolicy, exact_duration,
    is_access_key_id,
};

use super::parsed_profile::SkipReason;

/// Checks an AccessKey id.
///
/// # Errors
/// The problem, as a sentence about a profile.
pub fn access_key_id(id: &str) -> Result<(), String> {
    if !is_access_key_id(id) {
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
    checked("ram_role_arn", RoleArn::new(arn))
}

pub(super) fn provider_arn(arn: &str) -> Result<(), SkipReason> {
    checked(
        "oidc_provider_arn",
        stsd_model::provider_arn(arn, "oidc-provider"),
    )
}

pub(super) fn session_name(name: &str) -> Result<(), SkipReason> {
    checked("ram_session_name", RoleSessionName::new(name))
}

pub(super) fn external_id(id: &str) -> Result<(), SkipReason> {
    checked("external_id", stsd_model::external_id(id))
}

pub(super) fn policy(text: &str) -> Result<(), SkipReason> {
    checked("policy", SessionPolicy::new(text))
}

/// Checks the role name of an instance.
pub(super) fn role_name(name: &str) -> Result<(), SkipReason> {
    checked("ram_role_name", stsd_model::role_name(name))
}

/// Returns the reason that an invalid value gives, without the value.
fn checked<T>(key: &str, value: Result<T, Invalid>) -> Result<(), SkipReason> {
    let refused = |error| format!("its {key} is not accepted: {error}");
    value.map(drop).map_err(refused)
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
    if SessionDuration::within_limits(Duration::from_secs(seconds)).is_none() {
        return refuse("its expired_seconds is not 900 to 43200, which is what STS takes");
    }
    Ok(exact_duration(seconds))
}

fn refuse<T>(problem: &str) -> Result<T, SkipReason> {
    Err(problem.to_owned())
}
