//! The kind and the hint of each error of STS.

use stsd_sts::{StsError, TlsFault};

use crate::profile::Cause;

/// Returns the kind of an error and its hint. `subject` describes the identity.
pub(crate) fn for_error(error: &StsError, subject: &str) -> (Cause, String) {
    let (cause, hint) = match error {
        StsError::Denied(refusal) => return (Cause::Denied, for_denial(&refusal.code, subject)),
        StsError::SourceExpired(_) => {
            let hint = format!(
                "renew what {} gives; it is asked again at each attempt",
                subject
            );
            return (Cause::Denied, hint);
        }
        StsError::Clock { .. } => (Cause::Denied, "set this machine's clock"),
        StsError::Throttled { .. } => (
            Cause::Throttled,
            "it will pass; other programs of this account call STS too often",
        ),
        other => (Cause::Unreachable, for_network(other)),
    };
    (cause, hint.to_owned())
}

/// Returns the hint for a connection that fails, or that something else than STS answers.
pub(crate) fn for_network(error: &StsError) -> &'static str {
    match error {
        StsError::Unreachable {
            tls: Some(fault), ..
        } => for_tls(*fault),
        StsError::Unreachable { .. } => "check the network, the proxy and the endpoint",
        StsError::Unreadable { .. } => {
            "check that nothing between here and STS answers in its place"
        }
        _ => "it will pass; nothing to do here",
    }
}

fn for_tls(fault: TlsFault) -> &'static str {
    match fault {
        TlsFault::Untrusted => {
            "install ca-certificates; where a proxy or the endpoint has an authority of its own, \
             add that by update-ca-certificates, or name its file in SSL_CERT_FILE in the \
             daemon's environment; then start stsd again"
        }
        TlsFault::OtherName => {
            "correct endpoint or region; if they are right, something between here and STS answers \
             in its place"
        }
        TlsFault::Time => {
            "set this machine's clock (timedatectl set-ntp true); if it is right, the operator of the \
             endpoint or the proxy has to renew the certificate"
        }
        TlsFault::NotTls => {
            "correct endpoint, which speaks no TLS at this port; if it is right, something between \
             here and STS cuts the connection: set HTTPS_PROXY in the daemon's environment where \
             there is a proxy"
        }
        TlsFault::Other => {
            "look at what stands between here and STS: it takes TLS 1.2 or 1.3, and a certificate \
             that is valid for it"
        }
    }
}

/// Returns the hint for a refusal, by its code.
fn for_denial(code: &str, subject: &str) -> String {
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
