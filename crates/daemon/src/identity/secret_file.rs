//! The reads of a file that holds a secret. The rule of trust precedes each read.

use std::{borrow::Cow, env, io, path::Path};

use stsd_codes::Code;
use zeroize::Zeroizing;

use crate::runtime::{
    file_watch, trust,
    trust::{Loose, Purpose, TrustError},
};

/// The reason why a file with a secret cannot be used. The text follows the path of the file.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Other users may read or write the file, or replace it.
    #[error(transparent)]
    Untrusted(Box<Loose>),
}

impl PrivateFileError {
    /// Returns the code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable(_) => Code::ConfigUnreadable,
            Self::Untrusted(_) => Code::UntrustedFile,
        }
    }

    /// Returns what to do about the error: `missing` for a missing file; `expected` for a FIFO, a
    /// file that is too large, and a file that is not UTF-8.
    #[must_use]
    pub fn hint<'a>(&self, missing: &'a str, expected: &'a str) -> Cow<'a, str> {
        match self {
            Self::Unreadable(error) => match error.kind() {
                io::ErrorKind::Other | io::ErrorKind::InvalidData => expected.into(),
                io::ErrorKind::PermissionDenied => {
                    "let the daemon's user read the file and search the \
                                                    directories above it: namei -l shows them"
                        .into()
                }
                io::ErrorKind::NotADirectory => {
                    "correct the path: a part of it that is not the last is a file".into()
                }
                io::ErrorKind::TimedOut => {
                    "check the file system of the file, which does not answer".into()
                }
                _ => missing.into(),
            },
            Self::Untrusted(loose) => loose.hint().into(),
        }
    }
}

impl From<TrustError> for PrivateFileError {
    fn from(error: TrustError) -> Self {
        match error {
            TrustError::Io(error) => Self::Unreadable(error),
            TrustError::Loose(loose) => Self::Untrusted(loose),
        }
    }
}

/// Reads a file with a secret that is no token, `max_bytes` at most.
pub(crate) fn read(path: &Path, max_bytes: usize) -> Result<Zeroizing<String>, PrivateFileError> {
    check(path, Purpose::Secret)?;
    open_and_read(path, max_bytes)
}

/// Reads a file with a token or an assertion, `max_bytes` at most.
pub(super) fn read_token(
    path: &Path,
    max_bytes: usize,
) -> Result<Zeroizing<String>, PrivateFileError> {
    check_token(path)?;
    open_and_read(path, max_bytes)
}

/// Judges a file with a token or an assertion.
///
/// # Errors
/// [`PrivateFileError`].
pub(crate) fn check_token(path: &Path) -> Result<(), PrivateFileError> {
    check(path, Purpose::Token)
}

fn check(path: &Path, purpose: Purpose) -> Result<(), PrivateFileError> {
    let purpose = if is_systemd_credential(path) {
        Purpose::SystemdCredential
    } else {
        purpose
    };
    Ok(trust::check(path, purpose)?)
}

fn open_and_read(path: &Path, max_bytes: usize) -> Result<Zeroizing<String>, PrivateFileError> {
    let (file, _) = file_watch::open(path, max_bytes)?;
    Ok(file_watch::read(file, max_bytes)?)
}

/// Returns `true` if the file is in the directory of the credentials that the service manager has
/// given to this service (`CREDENTIALS_DIRECTORY`, systemd.exec(5)).
fn is_systemd_credential(path: &Path) -> bool {
    let directory = env::var_os("CREDENTIALS_DIRECTORY").filter(|it| !it.is_empty());
    directory.is_some_and(|it| path.parent() == Some(Path::new(&it)))
}
