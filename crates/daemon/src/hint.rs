//! Decides what a failure of STS means to a caller, and what a human can do about it.

use stsd_sts::StsError;

use crate::snapshot::Cause;

/// Returns the kind of failure that a caller can branch on, and what mends it.
pub(crate) fn of(error: &StsError) -> (Cause, &'static str) {
    match error {
        StsError::Denied(refusal) => (Cause::Denied, denied(&refusal.code)),
        StsError::SourceExpired(_) => (
            Cause::Denied,
            "renew the source credentials, then run stsctl refresh",
        ),
        StsError::Clock { .. } => (Cause::Denied, "set this machine's clock"),
        StsError::Throttled { .. } => (
            Cause::Throttled,
            "it will pass; other programs of this account call STS too often",
        ),
        StsError::Unreachable { .. } => (
            Cause::Unreachable,
            "check the network, the proxy and the endpoint",
        ),
        StsError::Unreadable { .. } => (
            Cause::Unreachable,
            "check that nothing between here and STS answers in its place",
        ),
        StsError::Unavailable(_) | StsError::NonceUsed(_) => {
            (Cause::Unreachable, "it will pass; nothing to do here")
        }
    }
}

/// What mends a refusal, by its code.
fn denied(code: &str) -> &'static str {
    match code {
        "NoPermission" => {
            "let the RAM user call AssumeRole (AliyunSTSAssumeRoleAccess) and the role trust it"
        }
        "EntityNotExist.Role" | "EntityNotExist.RoleArn" => "check role_arn, or create the role",
        "InvalidParameter.DurationSeconds" => {
            "lower duration, or raise the role's maximum session duration"
        }
        "InvalidAccessKeyId.NotFound" => "check the AccessKey id in the key file",
        "InvalidAccessKeyId.Inactive" | "Forbidden.AccessKeyDisabled" => {
            "enable the AccessKey in the console, or put another one in the key file"
        }
        "SignatureDoesNotMatch" => "check the AccessKey secret in the key file",
        "InvalidParameter.PolicyGrammar" | "InvalidParameter.PolicySize" => {
            "correct the policy: policy_file, or what stsctl lease was given"
        }
        "InvalidParameter.ExternalId" => "correct external_id",
        _ => "look the code up in the documentation of STS",
    }
}
