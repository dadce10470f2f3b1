//! Decides what a failure of STS means to a caller, and what a human can do about it.

use stsd_sts::StsError;

use crate::{snapshot::Cause, source::Source};

/// Returns the kind of failure that a caller can branch on, and what mends it.
pub(crate) fn of(error: &StsError, source: &Source) -> (Cause, String) {
    let (cause, hint) = match error {
        StsError::Denied(refusal) => return (Cause::Denied, denied(&refusal.code, source)),
        StsError::SourceExpired(_) => {
            let hint = format!(
                "renew what {} gives; it is asked again at each attempt",
                source.subject()
            );
            return (Cause::Denied, hint);
        }
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
    };
    (cause, hint.to_owned())
}

/// What mends a refusal, by its code.
fn denied(code: &str, source: &Source) -> String {
    let subject = source.subject();
    let hint = match code {
        "NoPermission" => {
            "let the RAM user call AssumeRole (AliyunSTSAssumeRoleAccess) and the role trust it"
        }
        "EntityNotExist.Role" | "EntityNotExist.RoleArn" => "check role_arn, or create the role",
        "EntityNotExist.SAMLProvider" => "check provider_arn, or create the SAML provider",
        "InvalidParameter.DurationSeconds" => {
            "lower duration, or raise the role's maximum session duration"
        }
        "InvalidAccessKeyId.NotFound" => {
            return format!("check the AccessKey id in {subject}");
        }
        "InvalidAccessKeyId.Inactive" | "Forbidden.AccessKeyDisabled" => {
            return format!("enable the AccessKey in the console, or put another one in {subject}");
        }
        "SignatureDoesNotMatch" => {
            return format!("check the AccessKey secret in {subject}");
        }
        "AuthenticationFail.NoPermission" => {
            "check provider_arn, and let the role trust that provider"
        }
        "AuthenticationFail.OIDCToken.AudienceNotMatch" => {
            "have the token issued for an audience that the provider lists: sts.aliyuncs.com"
        }
        "AuthenticationFail.OIDCToken.IssuerNotMatch" => {
            return format!("check provider_arn: {subject} has a token of another issuer");
        }
        code if code.starts_with("AuthenticationFail.") => {
            return format!("look at what writes {subject}: the service does not take it");
        }
        "InvalidParameter.PolicyGrammar" | "InvalidParameter.PolicySize" => {
            "correct the policy: policy_file, or what stsctl lease was given"
        }
        "InvalidParameter.ExternalId" => "correct external_id",
        _ => "look the code up in the documentation of STS",
    };
    hint.to_owned()
}
