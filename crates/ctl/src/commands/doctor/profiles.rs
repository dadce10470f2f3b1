//! The state of each profile, and the step in the console that fixes the last error of STS.

use stsd_client::{ProfileStatus, Status};

use crate::report::{Finding, Severity};

/// Error codes of STS, from its documentation and its responses, and the fix of each.
const STEPS: &[(&str, &str)] = &[
    (
        "EntityNotExist.Role",
        "RAM console, Identities > Roles: look whether the role is there; correct role_arn, or \
         create it",
    ),
    (
        "AuthenticationFail.NoPermission",
        "RAM console, Identities > Roles > the role > Trust Policy: name the identity provider",
    ),
    (
        "NoPermission",
        "RAM console, Identities > Users > the user > Permissions: attach \
         AliyunSTSAssumeRoleAccess; or Identities > Roles > the role > Trust Policy: name the user",
    ),
    (
        "InvalidParameter.DurationSeconds",
        "lower duration in the profile; or RAM console, Identities > Roles > the role: raise \
         Maximum Session Duration",
    ),
    (
        "InvalidAccessKeyId.NotFound",
        "RAM console, Identities > Users > the user > AccessKey: the id is not there; create a \
         key, and put it in the key's file",
    ),
    (
        "InvalidAccessKeyId.Inactive",
        "RAM console, Identities > Users > the user > AccessKey: enable it, or put another one in \
         the key's file",
    ),
    (
        "Forbidden.AccessKeyDisabled",
        "RAM console, Identities > Users > the user > AccessKey: enable it, or put another one in \
         the key's file",
    ),
    (
        "SignatureDoesNotMatch",
        "the secret in the key's file is not that of its id: correct it; the console shows a \
         secret only once, so create another AccessKey where it is lost",
    ),
    (
        "InvalidTimeStamp",
        "set this machine's clock: timedatectl set-ntp true",
    ),
    (
        "EntityNotExist.SAMLProvider",
        "RAM console, Integrations > SSO > SAML: look whether the provider is there; correct \
         provider_arn",
    ),
];

pub(super) fn check(status: &Status) -> Vec<Finding> {
    status.profiles.iter().map(of).collect()
}

fn of(profile: &ProfileStatus) -> Finding {
    let what = format!("profile {}", profile.name);
    if let Some(last) = &profile.last_failure {
        let (severity, remark) = match profile.remaining_seconds {
            None => (Severity::Fault, last.failure.message.clone()),
            Some(left) => (
                Severity::Warning,
                format!("served for {left} s more, but {}", last.failure.message),
            ),
        };
        let fix = fix(&last.failure.message, &last.failure.hint);
        return Finding::of(severity, what, remark, fix);
    }
    match (&profile.advice, profile.remaining_seconds) {
        (Some(advice), _) => {
            // The fix is the last part of an advice.
            let (remark, fix) = advice.rsplit_once("; ").unwrap_or((advice, ""));
            Finding::warning(what, remark, fix)
        }
        (None, Some(left)) => Finding::ok(what, format!("served for {left} s more")),
        (None, None) => Finding::ok(what, &profile.next_attempt_reason),
    }
}

fn fix(message: &str, hint: &str) -> String {
    match step(message) {
        Some(step) => format!("{step} ({hint})"),
        None => hint.to_owned(),
    }
}

/// Returns the fix for the error code that a message contains as a word.
fn step(message: &str) -> Option<&'static str> {
    let words = || {
        message
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'))
            .map(|it| it.trim_end_matches('.'))
    };
    let is = |code: &str, word: &str| {
        let rest = word.strip_prefix(code);
        rest.is_some_and(|it| it.is_empty() || it.starts_with('.') || it == "Arn")
    };
    let found = STEPS
        .iter()
        .find(|(code, _)| words().any(|it| is(code, it)));
    found.map(|(_, step)| *step)
}

#[cfg(test)]
mod tests {
    use super::step;

    #[test]
    fn error_code_matches_as_a_whole_word() {
        let begins = |message: &str, with: &str| {
            assert!(
                step(message).is_some_and(|it| it.contains(with)),
                "{message}"
            );
        };
        begins(
            "sts refused: NoPermission: You are not…",
            "AliyunSTSAssumeRoleAccess",
        );
        begins(
            "sts refused: AuthenticationFail.NoPermission: no",
            "identity provider",
        );
        begins("sts refused: EntityNotExist.RoleArn: no", "role_arn");
        begins("sts refused: InvalidTimeStamp.Expired: no", "clock");
        assert_eq!(step("sts refused: NoPermissionAtAll: no"), None);
    }
}
