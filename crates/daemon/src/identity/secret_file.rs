//! The checks of a file that holds a secret: its owner is root or the daemon's user, and no other
//! user can read or write the file.

use std::{
    env, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use nix::unistd::geteuid;
use zeroize::Zeroizing;

use crate::runtime::file_watch;

/// The reason why a file with a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Other users may read or write the file.
    #[error("has mode {mode:04o}; others may not read or write it")]
    Loose {
        /// The file's permission bits.
        mode: u32,
    },
    /// The owner is neither root nor the daemon's user.
    #[error("belongs to uid {owner}, not to root or the user that runs stsd")]
    Foreign {
        /// The file's owner.
        owner: u32,
    },
}

impl PrivateFileError {
    /// Returns what to do about the error: `missing` for a missing file; `expected` for a FIFO, a
    /// file that is too large, and a file that is not UTF-8.
    #[must_use]
    pub fn hint(&self, missing: &'static str, expected: &'static str) -> &'static str {
        match self {
            Self::Unreadable(error) => match error.kind() {
                io::ErrorKind::Other | io::ErrorKind::InvalidData => expected,
                _ => missing,
            },
            Self::Loose { .. } => {
                "run chmod 0600 on it, and replace the secret, which others may have read"
            }
            Self::Foreign { .. } => "run chown on it",
        }
    }
}

/// Reads a file with a secret, `max_bytes` at most. The checks use the open file, so that the file
/// cannot be replaced between a check and the read.
pub(super) fn read(path: &Path, max_bytes: usize) -> Result<Zeroizing<String>, PrivateFileError> {
    let (file, metadata) = file_watch::open(path, max_bytes)?;
    let mode = metadata.permissions().mode() & 0o7777;
    let owner = metadata.uid();
    // Since version 254, systemd gives a service its credential with an access control list, which
    // stat(2) shows as a read permission of the group.
    let from_systemd = owner == 0 && is_systemd_credential(path);
    let forbidden = if from_systemd { 0o037 } else { 0o077 };
    if mode & forbidden != 0 {
        return Err(PrivateFileError::Loose { mode });
    }
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(PrivateFileError::Foreign { owner });
    }
    Ok(file_watch::read(file, max_bytes)?)
}

/// Returns `true` if the file is in the directory of the credentials that the service manager has
/// given to this service (`CREDENTIALS_DIRECTORY`, systemd.exec(5)).
fn is_systemd_credential(path: &Path) -> bool {
    let directory = env::var_os("CREDENTIALS_DIRECTORY").filter(|it| !it.is_empty());
    directory.is_some_and(|it| path.parent() == Some(Path::new(&it)))
}
