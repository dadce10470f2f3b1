//! Decides which file may hold a secret: one that its owner alone may read, who is root or us.

use std::{
    env, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use nix::unistd::geteuid;
use zeroize::Zeroizing;

use crate::runtime::file_watch;

/// Why a file cannot be used that holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
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
}

impl PrivateFileError {
    /// What a human can do about it; `missing` is for a file that is not there, `expected` for
    /// what is none: a FIFO, too much, no text.
    #[must_use]
    pub fn hint(&self, missing: &'static str, expected: &'static str) -> &'static str {
        match self {
            Self::Unreadable(error) => match error.kind() {
                io::ErrorKind::Other | io::ErrorKind::InvalidData => expected,
                _ => missing,
            },
            Self::Loose { .. } => {
                "run chmod 0600 on it, and consider what it holds as seen by others"
            }
            Self::Foreign { .. } => "run chown on it",
        }
    }
}

/// Reads a file that holds a secret, of `most` bytes at the most. The checks look at the open
/// file, so it cannot be exchanged between them and the reading.
pub(super) fn read(path: &Path, most: usize) -> Result<Zeroizing<String>, PrivateFileError> {
    let (file, metadata) = file_watch::open(path, most)?;
    let mode = metadata.permissions().mode() & 0o7777;
    let owner = metadata.uid();
    // From 254 on systemd gives a service its credential by an access list, which shows as
    // a right of the group's to read.
    let lent = owner == 0 && is_systemd_credential(path);
    let forbidden = if lent { 0o037 } else { 0o077 };
    if mode & forbidden != 0 {
        return Err(PrivateFileError::Loose { mode });
    }
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(PrivateFileError::Foreign { owner });
    }
    Ok(file_watch::read(file, most)?)
}

/// Returns `true` if the file is in the directory of the credentials that the service manager has
/// given to this service (`CREDENTIALS_DIRECTORY`, systemd.exec(5)).
fn is_systemd_credential(path: &Path) -> bool {
    let directory = env::var_os("CREDENTIALS_DIRECTORY").filter(|it| !it.is_empty());
    directory.is_some_and(|it| path.parent() == Some(Path::new(&it)))
}
