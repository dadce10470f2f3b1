//! The credentials documents of other programs: one parser for the shapes of aliyun-cli (`mode`,
//! `access_key_id`), of the OSS SDKs, instance metadata and credentials URIs (`AccessKeyId`,
//! `SecurityToken`, `Code`), of the AWS SDKs (`Version`, `SecretAccessKey`, `SessionToken` or
//! `Token`), for all of them in one object, as sts-shim prints it, and for the answer of STS itself,
//! with `Credentials`.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, error::Category};
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

/// The keys whose values are texts.
const TEXT_KEYS: [&str; 13] = [
    "mode",
    "access_key_id",
    "access_key_secret",
    "sts_token",
    "security_token",
    "expiration",
    "AccessKeyId",
    "AccessKeySecret",
    "SecretAccessKey",
    "SecurityToken",
    "SessionToken",
    "Token",
    "Expiration",
];

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "Code")]
    code: Option<Scalar>,
    #[serde(rename = "Version")]
    version: Option<Scalar>,
    mode: Option<String>,
    access_key_id: Option<String>,
    access_key_secret: Option<SecretText>,
    sts_token: Option<SecretText>,
    security_token: Option<SecretText>,
    expiration: Option<String>,
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
    /// The credentials in the answer of STS itself.
    #[serde(rename = "Credentials")]
    sts: Option<StsCredentials>,
    /// The content of a Vault's answer, which is not read.
    data: Option<IgnoredAny>,
}

/// The `Credentials` of an answer of STS, or of the AWS service of that name.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct StsCredentials {
    access_key_id: Option<String>,
    access_key_secret: Option<SecretText>,
    secret_access_key: Option<SecretText>,
    security_token: Option<SecretText>,
    session_token: Option<SecretText>,
    expiration: Option<String>,
}

/// A value that some programs print as a text and others as a number.
#[derive(Deserialize, PartialEq)]
#[serde(untagged)]
enum Scalar {
    Number(i64),
    Text(String),
}

impl Scalar {
    fn is(&self, number: i64) -> bool {
        match self {
            Self::Number(it) => *it == number,
            Self::Text(it) => *it == number.to_string(),
        }
    }
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
    // The byte order mark of some editors and of PowerShell.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // The parser's message may quote the text.
    let raw: Raw = serde_json::from_str(text).map_err(|_| refuse(&invalid(text)))?;
    let is_success = |it: &Scalar| *it == Scalar::Text("Success".to_owned()) || it.is(200);
    if !raw.code.as_ref().is_none_or(is_success) {
        return Err(refuse("says that it failed: its Code is not Success"));
    }
    if !raw.version.as_ref().is_none_or(|it| it.is(1)) {
        return Err(refuse("gave credentials of a Version other than 1"));
    }
    let twice = |what: &str| refuse(&format!("says the {what} more than once, and differently"));
    let elsewhere = match raw.data {
        Some(_) => "; it has a key data, in which stsd reads nothing",
        None => "",
    };
    let missing = |what: &str| refuse(&format!("gave credentials without an {what}{elsewhere}"));
    let sts = raw.sts.unwrap_or_default();
    let id = one_of([raw.access_key_id, raw.oss_access_key_id, sts.access_key_id]);
    let id = id.map_err(|_| twice("id"))?;
    let secret = one_of([
        raw.access_key_secret,
        raw.oss_access_key_secret,
        raw.aws_access_key_secret,
        sts.access_key_secret,
        sts.secret_access_key,
    ]);
    let secret = secret.map_err(|_| twice("secret"))?;
    let token = one_of([
        raw.sts_token,
        raw.security_token,
        raw.oss_security_token,
        raw.aws_security_token,
        raw.container_security_token,
        sts.security_token,
        sts.session_token,
    ]);
    let token = token.map_err(|_| twice("token"))?;
    match (raw.mode.as_deref(), &token) {
        (None | Some("" | "AK"), None) | (None | Some("" | "StsToken"), Some(_)) => {}
        (Some("AK"), Some(_)) => return Err(refuse("gave a token with mode AK")),
        (Some("StsToken"), None) => return Err(refuse("gave no token, with mode StsToken")),
        (Some(_), _) => return Err(refuse("gave a mode other than AK and StsToken")),
    }
    let expiration = one_of([raw.expiration, raw.oss_expiration, sts.expiration]);
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

/// Returns the problem of a text that is no document, with the key and the type of a wrong value, and
/// without a value.
fn invalid(text: &str) -> String {
    let problem = "gave no document with credentials: one object in JSON, whole and nothing else";
    let detail = match serde_json::from_str(text) {
        Ok(Value::Object(object)) => wrong_type(&object),
        Ok(other) => format!("it is {}", type_name(&other)),
        Err(error) if error.classify() == Category::Eof => "its JSON ends too early".to_owned(),
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            format!("its JSON is invalid at line {line}, column {column}")
        }
    };
    format!("{problem} ({detail})")
}

/// Returns the first key with a value of the wrong type.
fn wrong_type(object: &serde_json::Map<String, Value>) -> String {
    let is_wrong = |key: &str, value: &Value| match key {
        "Code" | "Version" => !(value.is_i64() || value.is_string()),
        _ => TEXT_KEYS.contains(&key) && !value.is_string(),
    };
    let mut found = Vec::new();
    for (key, value) in object {
        match value {
            Value::Object(inner) if key == "Credentials" => {
                let inner = inner.iter().filter(|(key, value)| is_wrong(key, value));
                found.extend(inner.map(|(key, value)| (format!("Credentials.{key}"), value)));
            }
            _ if key == "Credentials" || is_wrong(key, value) => found.push((key.clone(), value)),
            _ => {}
        }
    }
    found.retain(|(_, value)| !value.is_null());
    let Some((key, value)) = found.first() else {
        return "a key is there twice".to_owned();
    };
    let expected = match key.as_str() {
        "Code" | "Version" => "a whole number or a text",
        "Credentials" => "an object",
        _ => "a text",
    };
    format!("{key} is {}, expected {expected}", type_name(value))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
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
