//! The errors of a call, classified by the caller's next step: wait, correct something, or give
//! up until something changes.
//!
//! Errors of the service are classified by their `Code` alone. The HTTP status is not
//! reliable: the vendor's own pages give 400 or 404, and 400 or 403, for the same code.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde::Deserialize;
use stsd_document::printable_start;

use crate::{ConnectFault, SecretText, sign};

/// A failed call; each variant names the caller's next step.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StsError {
    /// Refused until a key, a policy or a parameter is changed. Retry slowly.
    #[error("sts refused: {0}")]
    Denied(Refusal),
    /// The source credentials are temporary and have expired. Renew them, then retry.
    #[error("sts refused the source credentials: {0}")]
    SourceExpired(Refusal),
    /// The request's time was more than 15 minutes off. Correct by `server_date`, once.
    #[error("sts refused the request's time: {refusal}")]
    Clock {
        /// The error of the service.
        refusal: Refusal,
        /// The service's clock, if it sent one.
        server_date: Option<Timestamp>,
    },
    /// The nonce was seen before, most likely because a network replayed the request.
    /// Retry at once with a new nonce, once.
    #[error("sts has seen the request's nonce: {0}")]
    NonceUsed(Refusal),
    /// Too many calls. Wait for at least `retry_after`, if it is set, then retry.
    #[error("sts is throttling: {refusal}")]
    Throttled {
        /// The error of the service.
        refusal: Refusal,
        /// The pause that the service asks for.
        retry_after: Option<Duration>,
    },
    /// The service failed on its own side. Retry with back-off.
    #[error("sts failed: {0}")]
    Unavailable(Refusal),
    /// No answer came. Retry with back-off.
    #[error("sts is not reachable at {endpoint}: {reason}")]
    Unreachable {
        /// Host and port that were tried.
        endpoint: String,
        /// The failure, without any URL.
        reason: String,
        /// The cause, if it has a fix of its own.
        fault: Option<ConnectFault>,
    },
    /// An answer came and is not one of STS. Retry with back-off.
    #[error("sts answered what cannot be used: {reason}")]
    Unreadable {
        /// The fault of the answer, without a quotation.
        reason: String,
    },
}

/// The service's error, safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The service's error code, such as `NoPermission`.
    pub code: String,
    /// The service's message without secrets and control characters, in one line.
    pub message: String,
    /// The service's name for the call.
    pub request_id: String,
    /// The HTTP status it came with.
    pub http_status: u16,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if !self.request_id.is_empty() {
            write!(f, " (request {})", self.request_id)?;
        }
        Ok(())
    }
}

/// The headers of a refusal that matter beside its body.
#[derive(Default)]
pub(crate) struct Circumstances {
    pub http_status: u16,
    pub server_date: Option<Timestamp>,
    pub retry_after: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorBody {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    request_id: String,
}

impl StsError {
    /// Every name that [`kind`](Self::kind) returns.
    pub const KINDS: [&str; 8] = [
        "denied",
        "source_expired",
        "clock",
        "nonce_used",
        "throttled",
        "unavailable",
        "unreachable",
        "unreadable",
    ];

    /// Returns the variant's name, for counters.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::SourceExpired(_) => "source_expired",
            Self::Clock { .. } => "clock",
            Self::NonceUsed(_) => "nonce_used",
            Self::Throttled { .. } => "throttled",
            Self::Unavailable(_) => "unavailable",
            Self::Unreachable { .. } => "unreachable",
            Self::Unreadable { .. } => "unreadable",
        }
    }

    /// Returns the service's error; `None` if there was none.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Denied(refusal)
            | Self::SourceExpired(refusal)
            | Self::Clock { refusal, .. }
            | Self::NonceUsed(refusal)
            | Self::Throttled { refusal, .. }
            | Self::Unavailable(refusal) => Some(refusal),
            Self::Unreachable { .. } | Self::Unreadable { .. } => None,
        }
    }

    pub(crate) fn unreadable(reason: &str) -> Self {
        Self::Unreadable {
            reason: reason.to_owned(),
        }
    }

    /// Reads a refusal. `signed` is the text we signed: the service echoes it when the
    /// signature does not match, and it holds the security token.
    pub(crate) fn parse(
        body: &[u8],
        circumstances: &Circumstances,
        signed: &str,
        secrets: &[&SecretText],
    ) -> Self {
        let http_status = circumstances.http_status;
        let Ok(body) = serde_json::from_slice::<ErrorBody>(body) else {
            return Self::Unreadable {
                reason: format!("HTTP status {http_status} without an error of STS"),
            };
        };
        let shown =
            |text: &str, most| printable_start(without_secrets(text, signed, secrets).trim(), most);
        let mut refusal = Refusal {
            code: shown(&body.code, 80),
            message: shown(&body.message, 300),
            request_id: shown(&body.request_id, 64),
            http_status,
        };
        match refusal.code.as_str() {
            "SignatureNonceUsed" => Self::NonceUsed(refusal),
            "InvalidTimeStamp.Expired" => Self::Clock {
                refusal,
                server_date: circumstances.server_date,
            },
            "InvalidSecurityToken.Expired"
            | "InvalidSecurityToken.Malformed"
            | "InvalidSecurityToken.MismatchWithAccessKey"
            | "AuthenticationFail.OIDCToken.Expired"
            | "AuthenticationFail.SAMLAssertion.Expired" => Self::SourceExpired(refusal),
            "AuthenticationFail.OIDCToken.IssuerConfigurationBroken" => Self::Unavailable(refusal),
            "SignatureDoesNotMatch" if !signed.is_empty() && body.message.contains(signed) => {
                refusal.message = "the access key secret does not belong to the access key id \
                                   (both sides signed the same text)"
                    .to_owned();
                Self::Denied(refusal)
            }
            code if code == "Throttling" || code.starts_with("Throttling.") => Self::Throttled {
                refusal,
                retry_after: circumstances.retry_after,
            },
            "ServiceUnavailable" | "InternalError" => Self::Unavailable(refusal),
            code if is_permanent(code) => Self::Denied(refusal),
            _ if http_status == 429 => Self::Throttled {
                refusal,
                retry_after: circumstances.retry_after,
            },
            _ if http_status >= 500 => Self::Unavailable(refusal),
            _ => Self::Denied(refusal),
        }
    }
}

/// Codes that persist until something is changed, whatever their HTTP status.
fn is_permanent(code: &str) -> bool {
    const FAMILIES: [&str; 9] = [
        "AuthenticationFail.",
        "EntityNotExist.",
        "Forbidden",
        "IncompleteSignature",
        "Invalid",
        "Missing",
        "NoPermission",
        "SignatureDoesNotMatch",
        "Unsupported",
    ];
    const CODES: [&str; 2] = ["IllegalTimestamp", "NoSuchVersion"];
    FAMILIES.iter().any(|family| code.starts_with(family)) || CODES.contains(&code)
}

/// A secret has 30 characters, a token hundreds.
const MIN_SECRET_BYTES: usize = 6;

/// Returns the text without secrets: without the echoed string to sign and all that follows, and
/// without every secret of the request, in plain form, as escaped in the form, and as escaped again
/// in the string to sign.
fn without_secrets(text: &str, signed: &str, secrets: &[&SecretText]) -> String {
    let lower = text.to_ascii_lowercase();
    let cut = lower.find("string to sign").unwrap_or(text.len());
    let mut text = text[..cut].to_owned();
    if !signed.is_empty() {
        text = text.replace(signed, "[redacted]");
    }
    // A text shorter than any issued secret would occur in ordinary words.
    for secret in secrets
        .iter()
        .filter(|it| it.expose().len() >= MIN_SECRET_BYTES)
    {
        let once = sign::escaped(secret.expose());
        let twice = sign::escaped(&once);
        for form in [secret.expose(), &once, &twice] {
            text = text.replace(form, "[redacted]");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Circumstances, SecretText, StsError};

    fn classify(code: &str, http_status: u16) -> StsError {
        let body = format!(r#"{{"RequestId":"R-1","HostId":"h","Code":"{code}","Message":"m"}}"#);
        let circumstances = Circumstances {
            http_status,
            server_date: Some("2026-11-24T00:00:00Z".parse().unwrap()),
            retry_after: Some(Duration::from_millis(1500)),
        };
        StsError::parse(body.as_bytes(), &circumstances, "POST&%2F&x", &[])
    }

    fn check(expected: &str, codes: &[(&str, u16)]) {
        for (code, status) in codes {
            let variant = format!("{:?}", classify(code, *status));
            let name = variant.split(['(', ' ']).next().unwrap();
            assert_eq!(name, expected, "{code} with {status}");
        }
    }

    #[test]
    fn transient_error_codes_are_throttled_or_unavailable() {
        check(
            "Throttled",
            &[
                ("Throttling", 400),
                ("Throttling.User", 400),
                ("Throttling.User", 429),
                ("Throttling.Api", 503),
                ("SomethingNew", 429),
            ],
        );
        check(
            "Unavailable",
            &[
                ("ServiceUnavailable", 503),
                ("InternalError", 500),
                ("SomethingNew", 502),
                (
                    "AuthenticationFail.OIDCToken.IssuerConfigurationBroken",
                    401,
                ),
            ],
        );
    }

    #[test]
    fn correctable_error_codes_name_the_cause() {
        check("NonceUsed", &[("SignatureNonceUsed", 400)]);
        check("Clock", &[("InvalidTimeStamp.Expired", 400)]);
        check(
            "SourceExpired",
            &[
                ("InvalidSecurityToken.Expired", 400),
                ("InvalidSecurityToken.Malformed", 400),
                ("InvalidSecurityToken.MismatchWithAccessKey", 400),
                ("AuthenticationFail.OIDCToken.Expired", 401),
                ("AuthenticationFail.SAMLAssertion.Expired", 401),
            ],
        );
    }

    #[test]
    fn permanent_error_codes_are_denied() {
        check(
            "Denied",
            &[
                ("InvalidTimeStamp.Format", 400),
                ("IllegalTimestamp", 400),
                ("SignatureDoesNotMatch", 400),
                ("SignatureDoesNotMatch", 403),
                ("IncompleteSignature", 400),
                ("InvalidAccessKeyId.NotFound", 404),
                ("InvalidAccessKeyId.NotFound", 400),
                ("InvalidAccessKeyId.Inactive", 400),
                ("Forbidden.AccessKeyDisabled", 403),
                ("MissingSecurityToken", 400),
                ("NoPermission", 403),
                ("EntityNotExist.Role", 404),
                ("EntityNotExist.RoleArn", 404),
                ("EntityNotExist.SAMLProvider", 404),
                ("InvalidParameter.DurationSeconds", 400),
                ("InvalidParameter.ExternalId", 400),
                ("InvalidParameter.RoleArn", 400),
                ("InvalidParameter.RoleSessionName", 400),
                ("InvalidParameter.SerialNumber", 400),
                ("InvalidParameter.TokenCode", 400),
                ("InvalidParameter.PolicyGrammar", 400),
                ("InvalidParameter.PolicySize", 400),
                ("InvalidParameter.ContentType", 400),
                ("InvalidParameter.Format", 400),
                ("MissingParameter.RoleArn", 400),
                ("MissingRoleArn", 400),
                ("AuthenticationFail.ApiUsername", 403),
                ("AuthenticationFail.ApiPassword", 403),
                ("AuthenticationFail.NoPermission", 403),
                ("AuthenticationFail.OIDCToken.AudienceNotMatch", 401),
                ("AuthenticationFail.OIDCToken.IssuerNotMatch", 401),
                ("AuthenticationFail.SAMLAssertion.Invalid", 401),
                ("AuthenticationFail.IDPMetadata.Invalid", 401),
                ("InvalidAction.NotFound", 404),
                ("InvalidApi.NotFound", 404),
                ("InvalidVersion", 400),
                ("NoSuchVersion", 400),
                ("InvalidProduct.NotFound", 404),
                ("InvalidProtocol.NeedSsl", 400),
                ("UnsupportedHTTPMethod", 400),
                ("InvalidSignatureMethod", 400),
                ("SomethingNew", 403),
                // A gateway's status does not turn a refusal into an outage.
                ("NoPermission", 503),
            ],
        );
    }

    #[test]
    fn body_without_error_code_is_unreadable() {
        for body in ["", "<html>login</html>", "{}", "null", r#"{"Code":1}"#] {
            let circumstances = Circumstances {
                http_status: 502,
                ..Circumstances::default()
            };
            let error = StsError::parse(body.as_bytes(), &circumstances, "x", &[]);
            assert!(matches!(error, StsError::Unreadable { .. }), "{body}");
        }
    }

    #[test]
    fn error_never_contains_the_echoed_string_to_sign() {
        let token = SecretText::from("CAISmarker/+token==".to_owned());
        let signed = "POST&%2F&AccessKeyId%3DSTS.x%26SecurityToken%3DCAISmarker";
        let check = |message: &str, expected: &str| {
            let body = format!(r#"{{"Code":"SignatureDoesNotMatch","Message":"{message}"}}"#);
            let error = StsError::parse(
                body.as_bytes(),
                &Circumstances::default(),
                signed,
                &[&token],
            );
            let text = format!("{error} {error:?}");
            assert!(!text.contains("CAISmarker"), "{text}");
            assert!(text.contains(expected), "{text}");
        };
        let head =
            "Specified signature is not matched with our calculation. server string to sign is:";
        check(&format!("{head}{signed}"), "does not belong to");
        check(&format!("{head}POST&CAISmarker"), "not matched with our");
        check("your token CAISmarker/+token== is bad", "[redacted]");
        check(
            "your form &SecurityToken=CAISmarker%2F%2Btoken%3D%3D",
            "[redacted]",
        );
        check(
            "you signed CAISmarker%252F%252Btoken%253D%253D",
            "[redacted]",
        );
        check("two\\nlines\\u001b[31m", "two\\nlines\\u{1b}[31m");
    }

    #[test]
    fn secret_as_error_code_or_request_id_is_redacted() {
        let token = SecretText::from("CAISmarker/+token==".to_owned());
        for place in ["Code", "RequestId"] {
            let body = r#"{"Code":"NoPermission","RequestId":"R-1"}"#;
            let was = if place == "Code" {
                "NoPermission"
            } else {
                "R-1"
            };
            let body = body.replace(was, token.expose());
            let circumstances = Circumstances::default();
            let error = StsError::parse(body.as_bytes(), &circumstances, "POST&x", &[&token]);
            let text = format!("{error} {error:?}");
            assert!(!text.contains("CAISmarker"), "{text}");
            assert!(text.contains("[redacted]"), "{text}");
        }
    }
}
