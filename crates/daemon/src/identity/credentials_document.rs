//! The credentials documents of other programs: one parser for the shapes of aliyun-cli (`mode`,
//! `access_key_id`), of the OSS SDKs, instance metadata and credentials URIs (`AccessKeyId`,
//! `SecurityToken`, `Code`), of the AWS SDKs (`Version`, `SecretAccessKey`, `SessionToken` or
//! `Token`), and for all of them in one object, as sts-shim prints it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use stsd_sts::{Proof, SecretText, SourceCredentials};

use super::access_key::is_key;
use crate::{
    profile::{Expiry, ResolvedIdentity, SourceError},
    runtime::clock::{BootTime, Clock},
};

/// Maximum size of a document: twice the largest token that the daemon serves.
pub(super) const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

const SHAPES_HINT: &str = "see man stsd-config for the accepted documents; stsd does not show this one, \
                      because it may hold a secret";

#[derive(Deserialize)]
struct Raw {
    mode: Option<String>,
    access_key_id: Option<String>,
    access_key_secret: Option<SecretText>,
    sts_token: Option<SecretText>,
    security_token: Option<SecretText>,
    expiration: Option<String>,
    #[serde(rename = "Code")]
    code: Option<String>,
    #[serde(rename = "Version")]
    version: Option<u32>,
    #[serde(rename = "AccessKeyId")]
    oss_access_key_id: Option<String>,
    #[serde(rename = "AccessKeySecret")]
    oss_access_key_secret: Option<SecretText>,
    #[serde(rename = "SecretAccessKey")]
    aws_access_key_secret: Option<SecretText>,
    #[serde(rename = "SecurityToken")]
    oss_security_token: Option<SecretText>,
    #[serde(rename = "SessionToken")]
    aws_security_token: Option<SecretText>,
    #[serde(rename = "Token")]
    container_security_token: Option<SecretText>,
    #[serde(rename = "Expiration")]
    oss_expiration: Option<String>,
}

/// The time at which a document was received.
#[derive(Clone, Copy)]
pub(super) struct ReceivedAt<'a> {
    /// The time before the request.
    pub asked: BootTime,
    /// The issuer's clock in the response; `None` if the response has no date.
    pub date: Option<Timestamp>,
    /// The local clocks.
    pub clock: &'a dyn Clock,
}

/// Parses the document of `subject`.
///
/// # Errors
/// [`SourceError`], which never quotes the text.
pub(super) fn read(
    text: &str,
    subject: &str,
    received: ReceivedAt<'_>,
) -> Result<ResolvedIdentity, SourceError> {
    let refuse = |problem: &str| SourceError::new(subject, problem, SHAPES_HINT);
    if text.trim().is_empty() {
        return Err(refuse("gave nothing, where credentials were expected"));
    }
    // The parser's message may quote the text.
    let raw: Raw = serde_json::from_str(text).map_err(|_| {
        refuse("gave no document with credentials: one object in JSON, whole and nothing else")
    })?;
    if raw.code.as_deref().is_some_and(|it| it != "Success") {
        return Err(refuse("says that it failed: its Code is not Success"));
    }
    if raw.version.is_some_and(|it| it != 1) {
        return Err(refuse("gave credentials of a Version other than 1"));
    }
    let twice = |what: &str| refuse(&format!("says the {what} more than once, and differently"));
    let missing = |what: &str| refuse(&format!("gave credentials without an {what}"));
    let id = one_of([raw.access_key_id, raw.oss_access_key_id]).map_err(|_| twice("id"))?;
    let secret = one_of([
        raw.access_key_secret,
        raw.oss_access_key_secret,
        raw.aws_access_key_secret,
    ]);
    let secret = secret.map_err(|_| twice("secret"))?;
    let token = one_of([
        raw.sts_token,
        raw.security_token,
        raw.oss_security_token,
        raw.aws_security_token,
        raw.container_security_token,
    ]);
    let token = token.map_err(|_| twice("token"))?;
    match (raw.mode.as_deref(), &token) {
        (None | Some("" | "AK"), None) | (None | Some("" | "StsToken"), Some(_)) => {}
        (Some("AK"), Some(_)) => return Err(refuse("gave a token with mode AK")),
        (Some("StsToken"), None) => return Err(refuse("gave no token, with mode StsToken")),
        (Some(_), _) => return Err(refuse("gave a mode other than AK and StsToken")),
    }
    let expiration = one_of([raw.expiration, raw.oss_expiration]);
    let expiration = expiration.map_err(|_| twice("expiration"))?;
    let credentials = SourceCredentials {
        access_key_id: id.ok_or_else(|| missing("access key id"))?,
        access_key_secret: secret.ok_or_else(|| missing("access key secret"))?,
        security_token: token,
    };
    let plain = |it: &SecretText| it.expose().bytes().all(|byte| byte.is_ascii_graphic());
    if !is_key(&credentials)
        || !plain(&credentials.access_key_secret)
        || !credentials.security_token.as_ref().is_none_or(plain)
    {
        return Err(refuse(
            "gave credentials with characters that no credentials have",
        ));
    }
    let end = match expiration {
        None => None,
        Some(text) => {
            let expiration = text.parse().map_err(|_| {
                refuse("gave an expiration that is no time; an example is 2026-11-24T12:00:00Z")
            })?;
            Some(Expiry::new(
                expiration,
                received.date,
                received.asked,
                received.clock,
            ))
        }
    };
    if end.is_some_and(|it| it.at.since(received.clock.boot()).is_zero()) {
        return Err(SourceError::new(
            subject,
            "gave expired credentials",
            "check the program that renews them, and the clock of this machine",
        ));
    }
    Ok(ResolvedIdentity {
        proof: Arc::new(Proof::Credentials(credentials)),
        asked: received.asked,
        end,
    })
}

/// Returns the value of one key, or of several keys with equal values; an empty text is no value.
fn one_of<T: Text, const N: usize>(given: [Option<T>; N]) -> Result<Option<T>, ConflictingValues> {
    let mut all = given.into_iter().flatten().filter(|it| !it.is_none());
    let first = all.next();
    match all.all(|it| Some(&it) == first.as_ref()) {
        true => Ok(first),
        false => Err(ConflictingValues),
    }
}

struct ConflictingValues;

trait Text: PartialEq {
    fn is_none(&self) -> bool;
}

impl Text for String {
    fn is_none(&self) -> bool {
        self.is_empty()
    }
}

impl Text for SecretText {
    fn is_none(&self) -> bool {
        self.is_empty()
    }
}

#[cfg(test)]
mod tests;
