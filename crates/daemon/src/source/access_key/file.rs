//! How a RAM user's AccessKey is read from a file: TOML with `access_key_id` and
//! `access_key_secret`, readable by its owner alone.

use std::{
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use nix::unistd::geteuid;
use serde::Deserialize;
use stsd_sts::{SecretText, SourceCredentials};

use crate::{file, manager::Manager};

/// A key file is three lines; more than this is some other file.
const LARGEST_FILE: usize = 16 * 1024;

/// Why a key file cannot be used. No variant holds what is in it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Somebody else may read or write the file.
    #[error("has mode {mode:04o}; others may not read or write it")]
    Loose {
        /// The file's permission bits.
        mode: u32,
    },
    /// The file belongs to somebody who is neither root nor us.
    #[error("belongs to uid {owner}, not to the user who runs stsd")]
    Foreign {
        /// The file's owner.
        owner: u32,
    },
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
            Self::Unreadable(_) => "write the RAM user's AccessKey there, mode 0600",
            Self::Loose { .. } => "run chmod 0600 on it, and consider the key as seen by others",
            Self::Foreign { .. } => "run chown on it",
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

/// Reads a key file. The checks look at the open file, so it cannot be exchanged between
/// them and the reading.
pub(crate) fn read(path: &Path) -> Result<SourceCredentials, KeyFileError> {
    let (file, metadata) = file::open(path, LARGEST_FILE)?;
    let mode = metadata.permissions().mode() & 0o7777;
    let owner = metadata.uid();
    // From 254 on systemd gives a service its credential by an access list, which shows as
    // a right of the group's to read.
    let lent = owner == 0 && Manager::lends(path);
    let forbidden = if lent { 0o037 } else { 0o077 };
    if mode & forbidden != 0 {
        return Err(KeyFileError::Loose { mode });
    }
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(KeyFileError::Foreign { owner });
    }
    parse(&file::read(file, LARGEST_FILE)?)
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
