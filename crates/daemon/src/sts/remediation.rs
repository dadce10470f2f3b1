//! The kind and the hint of each error of STS.

use stsd_sts::{StsError, TlsFault};

use crate::profile::Cause;

/// Returns the kind of an error and its hint. `subject` describes the identity.
pub(crate) fn for_error(error: &StsError, subject: &str) -> (Cause, String) {
    let (cause, hint) = match error {
        StsError::Denied(refusal) => return (Cause::Denied, for_denial(&refusal.code, subject)),
        StsError::SourceExpired(_) => {
            let hint = format!("renew what {subject} gives; each attempt reads it again");
            return (Cause::Denied, hint);
        }
        StsError::Clock { .. } => (Cause::Denied, "set this machine's clock"),
        StsError::Throttled { .. } => (
            Cause::Throttled,
            "wait; other programs of this account call STS too often",
        ),
        other => (Cause::Unreachable, for_network(other)),
    };
    (cause, hint.to_owned())
}

/// Returns the hint for a connection that has failed, or to which another server than STS answers.
pub(crate) fn for_network(error: &StsError) -> &'static str {
    match error {
        StsError::Unreachable {
            tls: Some(fault), ..
        } => for_tls(*fault),
        StsError::Unreachable { .. } => "check the network, the proxy and the endpoint",
        StsError::Unreadable { .. } => {
            "check that no proxy between this machine and STS answers in its place"
        }
        _ => "wait; the next attempt needs no change",
    }
}

fn for_tls(fault: TlsFault) -> &'static str {
    match fault {
        TlsFault::Untrusted => {
            "install ca-certificates; if a proxy or the endpoint has an authority of its own, \
             add the authority by update-ca-certificates, or name its file in SSL_CERT_FILE in the \
             daemon's environment; then start stsd again"
        }
        TlsFault::OtherName => {
            "correct endpoint or region; if both are right, a proxy between this machine and STS \
             answers in its place"
        }
        TlsFault::Time => {
            "set this machine's clock (timedatectl set-ntp true); if the clock is right, the operator \
             of the endpoint or the proxy has to renew the certificate"
        }
        TlsFault::NotTls => {
            "correct endpoint, which speaks no TLS at this port; if the endpoint is right, a proxy \
             or firewall between this machine and STS cuts the connection: set HTTPS_PROXY in the \
             daemon's environment if there is a proxy"
        }
        TlsFault::Other => {
            "check the proxies between this machine and STS: the connection needs TLS 1.2 or 1.3 and \
             a certificate that is valid for the endpoint"
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
            return format!("look at what writes {subject}: STS does not accept it");
        }
        "InvalidParameter.PolicyGrammar" | "InvalidParameter.PolicySize" => {
            "correct the policy: policy_file, or what stsctl lease was given"
        }
        "InvalidParameter.ExternalId" => "correct external_id",
        _ => "look the code up in the documentation of STS",
    };
    hint.to_owned()
}
