//! The key file of a RAM user: TOML with `access_key_id` and `access_key_secret`, readable only for
//! its owner.

use std::{borrow::Cow, path::Path};

use serde::Deserialize;
use stsd_codes::Code;
use stsd_model::is_access_key_id;
use stsd_sts::{SecretText, SourceCredentials};

use crate::identity::{secret_file, secret_file::PrivateFileError};

/// Maximum size of a key file, which has three lines. A larger file is some other file.
const MAX_FILE_BYTES: usize = 16 * 1024;

/// The reason why a key file cannot be used. No variant holds its content.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read, or is no private file.
    #[error(transparent)]
    Unusable(#[from] PrivateFileError),
    /// The content is not that of a key file.
    #[error(
        "is not a key file: it holds access_key_id = \"…\" and access_key_secret = \"…\", and nothing else"
    )]
    NotAKey,
    /// The content is the CSV file of the console.
    #[error("is the CSV file that the console gives for a new AccessKey, and no key file")]
    ConsoleCsv,
    /// The secret has a blank at its end, which a copy of it often has.
    #[error("holds an access_key_secret with a blank at its beginning or end")]
    BlankInSecret,
    /// The key is that of a session.
    #[error("holds the key of a session (STS.…), which ends and cannot be renewed")]
    SessionKey,
}

impl KeyFileError {
    /// Returns the code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Unusable(error) => error.code(),
            Self::NotAKey | Self::ConsoleCsv | Self::SessionKey | Self::BlankInSecret => {
                Code::ConfigKeyFile
            }
        }
    }

    /// Returns what to do about the error.
    #[must_use]
    pub fn hint(&self) -> Cow<'static, str> {
        match self {
            Self::Unusable(error) => error.hint(
                "write the RAM user's AccessKey there, mode 0600",
                "a key file is a small text file with access_key_id = \"…\" and \
                 access_key_secret = \"…\"",
            ),
            Self::NotAKey => "compare the file with the example in man stsd-config".into(),
            Self::ConsoleCsv => {
                "stsctl init --key-file reads it; or write access_key_id = \"…\" and \
                                 access_key_secret = \"…\" with its values"
                    .into()
            }
            Self::BlankInSecret => "remove the blank inside of the quotes".into(),
            Self::SessionKey => {
                "put the AccessKey of a RAM user there, whose id begins with LTAI".into()
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    access_key_id: String,
    access_key_secret: SecretText,
}

/// Reads a key file.
pub(crate) fn read(path: &Path) -> Result<SourceCredentials, KeyFileError> {
    parse(&secret_file::read(path, MAX_FILE_BYTES)?)
}

/// Parses the text of a key file.
pub(crate) fn parse(text: &str) -> Result<SourceCredentials, KeyFileError> {
    // The parser's message would quote the line, secret included.
    let key: KeyFile = toml::from_str(text).map_err(|_| not_a_key(text))?;
    let credentials = SourceCredentials {
        access_key_id: key.access_key_id,
        access_key_secret: key.access_key_secret,
        security_token: None,
    };
    if credentials.access_key_id.starts_with("STS.") {
        return Err(KeyFileError::SessionKey);
    }
    if has_outer_blank(credentials.access_key_secret.expose()) {
        return Err(KeyFileError::BlankInSecret);
    }
    if is_key(&credentials) {
        Ok(credentials)
    } else {
        Err(KeyFileError::NotAKey)
    }
}

fn not_a_key(text: &str) -> KeyFileError {
    let first = text.trim_start_matches('\u{feff}').lines().next();
    let head = first
        .unwrap_or_default()
        .to_ascii_lowercase()
        .replace([' ', '"'], "");
    let columns = ["accesskeyid", "accesskeysecret"];
    if columns
        .iter()
        .all(|it| head.split(',').any(|column| column == *it))
    {
        KeyFileError::ConsoleCsv
    } else {
        KeyFileError::NotAKey
    }
}

/// Returns `true` if a text begins or ends with white space.
pub(crate) fn has_outer_blank(text: &str) -> bool {
    text.trim().len() != text.len()
}

/// Returns `true` if the credentials have the shape of a key.
pub(crate) fn is_key(credentials: &SourceCredentials) -> bool {
    is_access_key_id(&credentials.access_key_id) && !credentials.access_key_secret.is_empty()
}
