//! How a RAM user's AccessKey is read from a file: TOML with `access_key_id` and
//! `access_key_secret`, readable by its owner alone.

use std::path::Path;

use serde::Deserialize;
use stsd_sts::{SecretText, SourceCredentials};

use crate::identity::{secret_file, secret_file::PrivateFileError};

/// A key file is three lines; more than this is some other file.
const LARGEST_FILE: usize = 16 * 1024;

/// Why a key file cannot be used. No variant holds what is in it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file is none that may hold a secret.
    #[error(transparent)]
    Unusable(#[from] PrivateFileError),
    /// The file is not what a key file is.
    #[error(
        "is not a key file: it holds access_key_id = \"…\" and access_key_secret = \"…\", and nothing else"
    )]
    NotAKey,
}

impl KeyFileError {
    /// What a human can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unusable(error) => error.hint(
                "write the RAM user's AccessKey there, mode 0600",
                "a key file is a small text file with access_key_id = \"…\" and \
                 access_key_secret = \"…\"",
            ),
            Self::NotAKey => "compare it with the example in docs/configuration.md",
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
    parse(&secret_file::read(path, LARGEST_FILE)?)
}

/// Checks the text of a key file.
pub(crate) fn parse(text: &str) -> Result<SourceCredentials, KeyFileError> {
    // The parser's message would quote the line, secret included.
    let key: KeyFile = toml::from_str(text).map_err(|_| KeyFileError::NotAKey)?;
    let credentials = SourceCredentials {
        access_key_id: key.access_key_id,
        access_key_secret: key.access_key_secret,
        security_token: None,
    };
    if is_key(&credentials) {
        Ok(credentials)
    } else {
        Err(KeyFileError::NotAKey)
    }
}

/// Tells whether this has the shape of a key. An id is printed, so it must be harmless.
pub(crate) fn is_key(credentials: &SourceCredentials) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let id = &credentials.access_key_id;
    (1..=128).contains(&id.len())
        && id.bytes().all(plain)
        && !credentials.access_key_secret.is_empty()
}
