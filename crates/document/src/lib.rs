//! The credentials documents: the texts in which the shim, the HTTP endpoint and the export
//! files give a session to SDKs. Also the form in which all programs print the text of others.
//!
//! The shapes are those of aliyun-cli's `External` mode, the OSS SDKs' process provider, AWS's
//! `credential_process`, and the credentials URI. They are written by hand instead of by a JSON
//! library because every SDK call may start the shim; a test reads the result back with such a
//! library.

mod keys;
mod printable;
mod text;

use jiff::Timestamp;
pub use keys::{MappedKey, MappedValue, TimeFormat};
pub use printable::{Printable, is_printable, printable_lines, printable_start};
use stsd_secret::SecretText;
use text::{assignments, exports, is_plain};
use zeroize::Zeroizing;

/// The shape of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One object with the keys of aliyun, oss, uri and aws: every known consumer ignores
    /// the keys it does not know.
    #[default]
    Union,
    /// `process_command` of aliyun-cli and the credentials SDKs.
    Aliyun,
    /// The process provider of the OSS SDKs and ossfs.
    Oss,
    /// `credential_process` of the AWS SDKs.
    Aws,
    /// The body of a credentials URI, and of the AWS SDKs' container endpoint: the instance
    /// metadata's keys, and the two in which the container endpoint differs.
    Uri,
    /// `export` lines for a POSIX shell.
    Env,
    /// `NAME=value` lines without quotes, which all readers of such files take alike: Docker's
    /// `--env-file`, systemd's `EnvironmentFile=`, dotenv libraries.
    Dotenv,
    /// Plain names for programs of one's own, those of the wire's credentials.
    Json,
}

/// One role session, borrowed from its owner.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// The temporary AccessKey id.
    pub access_key_id: &'a str,
    /// The temporary AccessKey secret.
    pub access_key_secret: &'a SecretText,
    /// The token that goes with the key.
    pub security_token: &'a SecretText,
    /// When the session ends, in seconds since 1970-01-01 UTC.
    pub expiration_unix_seconds: i64,
    /// When it was obtained, in seconds since 1970-01-01 UTC.
    pub issued_unix_seconds: i64,
}

/// Why there is no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// A time is outside of what can be written as one.
    #[error("a time that is none")]
    Time,
    /// A value holds what readers of the format take differently.
    #[error("a value that cannot be written without quotes")]
    Value,
}

impl Format {
    /// Every name of a format.
    pub const NAMES: &str = "union, aliyun, oss, aws, uri, env, dotenv, json";

    /// Returns the format of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "union" => Self::Union,
            "aliyun" => Self::Aliyun,
            "oss" => Self::Oss,
            "aws" => Self::Aws,
            "uri" => Self::Uri,
            "env" => Self::Env,
            "dotenv" => Self::Dotenv,
            "json" => Self::Json,
            _ => return None,
        })
    }
}

impl Credentials<'_> {
    /// Renders the document with its final newline. Times are exactly
    /// `YYYY-MM-DDTHH:MM:SSZ`, JSON is one compact line.
    ///
    /// # Errors
    /// [`Unwritable`]; then there is nothing rather than a part of it.
    pub fn render(&self, format: Format) -> Result<Zeroizing<String>, Unwritable> {
        let key = self.access_key_id;
        let secret = self.access_key_secret.expose();
        let token = self.security_token.expose();
        let expiration = time(self.expiration_unix_seconds)?;
        // Told in one of the shapes alone.
        let issued = match format {
            Format::Uri => time(self.issued_unix_seconds)?,
            _ => String::new(),
        };

        // Without the mode, aliyun-cli runs the command again and again for ever.
        let aliyun = [
            ("mode", "StsToken"),
            ("access_key_id", key),
            ("access_key_secret", secret),
            ("sts_token", token),
            ("expiration", &expiration),
        ];
        let oss = [
            ("AccessKeyId", key),
            ("AccessKeySecret", secret),
            ("SecurityToken", token),
            ("Expiration", &expiration),
        ];
        let aws = [("SecretAccessKey", secret), ("SessionToken", token)];
        let success = [("Code", "Success")];
        // `LastUpdated` keeps oss2 from asking again 54 minutes before the end.
        let uri = [
            ("LastUpdated", issued.as_str()),
            ("SecretAccessKey", secret),
            ("Token", token),
        ];
        let plain = [
            ("access_key_id", key),
            ("access_key_secret", secret),
            ("security_token", token),
            ("expiration", &expiration),
        ];
        let variables = [
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", key),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret),
            ("ALIBABA_CLOUD_SECURITY_TOKEN", token),
            ("OSS_ACCESS_KEY_ID", key),
            ("OSS_ACCESS_KEY_SECRET", secret),
            ("OSS_SESSION_TOKEN", token),
        ];
        // Each stands in a document several times.
        let unescaped = [key, secret, token].into_iter().all(is_plain);
        let object = |parts: &[&[_]], version| text::object(parts, version, unescaped);
        Ok(match format {
            Format::Union => object(&[&aliyun, &success, &oss, &aws], true),
            Format::Aliyun => object(&[&aliyun], false),
            Format::Oss => object(&[&oss], false),
            Format::Aws => object(&[&oss[..1], &aws, &oss[3..]], true),
            Format::Uri => object(&[&success, &oss, &uri], false),
            Format::Env => exports(&variables),
            Format::Dotenv => assignments(&variables).ok_or(Unwritable::Value)?,
            Format::Json => object(&[&plain], false),
        })
    }
}

/// Fractions and offsets break several SDKs.
fn time(unix_seconds: i64) -> Result<String, Unwritable> {
    let time = Timestamp::from_second(unix_seconds).map_err(|_| Unwritable::Time)?;
    Ok(time.to_string())
}

#[cfg(test)]
mod tests;
