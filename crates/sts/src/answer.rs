//! The successful answers of STS, parsed from JSON.

use jiff::Timestamp;
use serde::Deserialize;
use stsd_document::printable_start;

use crate::{SecretText, StsError};

/// A role session: the answer of AssumeRole.
#[derive(Debug, Clone)]
pub struct RoleSession {
    /// The temporary AccessKey id, `STS.…`. An identifier, not a secret.
    pub access_key_id: String,
    /// The temporary AccessKey secret.
    pub access_key_secret: SecretText,
    /// The token that accompanies every request signed with the key.
    pub security_token: SecretText,
    /// When the session ends, by the service's clock.
    pub expiration: Timestamp,
    /// The service's clock when it answered (the `Date` header, to the second, rounded
    /// down), where it sent one.
    pub server_date: Option<Timestamp>,
    /// The service's name for the call, for its support and for audit.
    pub request_id: String,
}

/// The identity behind a set of credentials: the answer of GetCallerIdentity.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CallerIdentity {
    /// The account's number.
    pub account_id: String,
    /// The caller's name. Opaque: the vendor's own examples disagree about its form.
    pub arn: String,
    /// `RAMUser`, `AssumedRoleUser` or `Account`.
    #[serde(default)]
    pub identity_type: String,
    /// The caller's number, or `<role id>:<session name>`.
    #[serde(default)]
    pub principal_id: String,
    /// The service's name for the call.
    #[serde(default)]
    pub request_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AssumeRoleAnswer {
    #[serde(default)]
    request_id: String,
    credentials: AnswerCredentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AnswerCredentials {
    access_key_id: String,
    access_key_secret: SecretText,
    security_token: SecretText,
    expiration: String,
}

impl RoleSession {
    /// Reads the body of a successful AssumeRole answer.
    ///
    /// # Errors
    /// [`StsError::Unreadable`] when it is anything but a complete session.
    pub(crate) fn parse(body: &[u8], server_date: Option<Timestamp>) -> Result<Self, StsError> {
        let answer: AssumeRoleAnswer = parse_json(body)?;
        let credentials = answer.credentials;
        let empty = credentials.access_key_id.is_empty()
            || credentials.access_key_secret.is_empty()
            || credentials.security_token.is_empty();
        if empty {
            return Err(StsError::unreadable("the answer holds empty credentials"));
        }
        // An access key id is printed in logs and tables, so it must be harmless there.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if credentials.access_key_id.len() > 128 || !credentials.access_key_id.bytes().all(plain) {
            return Err(StsError::unreadable(
                "the answer's access key id is not one",
            ));
        }
        let expiration = credentials
            .expiration
            .parse()
            .map_err(|_| StsError::unreadable("the answer's expiration is not a time"))?;
        Ok(Self {
            access_key_id: credentials.access_key_id,
            access_key_secret: credentials.access_key_secret,
            security_token: credentials.security_token,
            expiration,
            server_date,
            request_id: printable_start(&answer.request_id, 64),
        })
    }
}

/// Reads JSON without quoting any of it: serde_json's own message may hold a value.
pub(crate) fn parse_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, StsError> {
    serde_json::from_slice(body).map_err(|error| {
        let start = body.trim_ascii_start().first();
        StsError::unreadable(match (error.classify(), start) {
            (_, Some(b'<')) => "the answer is HTML or XML, not JSON",
            (serde_json::error::Category::Eof, _) => "the answer ends too early",
            (serde_json::error::Category::Data, _) => "the answer lacks what it must hold",
            _ => "the answer is not JSON",
        })
    })
}
