//! The errors of a socket, each with a hint.

use std::{
    io::{self, ErrorKind},
    path::PathBuf,
};

use nix::libc;

/// Maximum length of a socket's path, in bytes: `sun_path` has 108 with its NUL, unix(7).
pub(super) const MAX_PATH_BYTES: usize = 107;

/// Why the daemon cannot listen at a path.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another daemon listens at the path.
    #[error("another daemon{} is listening at {path} already", of_user(*holder))]
    Live {
        /// The socket.
        path: PathBuf,
        /// The user of that daemon; `None` if the kernel reports none.
        holder: Option<u32>,
    },
    /// Another program holds the lock of the directory.
    #[error("another program keeps a lock on {0}")]
    Busy(PathBuf),
    /// The path leads to a file that is no socket.
    #[error("{0} exists and is not a socket")]
    NotASocket(PathBuf),
    /// Another user could replace the socket.
    #[error("the directory {path} is not safe for a socket: {reason}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with the directory.
        reason: String,
    },
    /// The kernel takes no path of this length.
    #[error(
        "cannot listen at {0}: the path has {length} bytes, a socket's at most {MAX_PATH_BYTES}",
        length = .0.as_os_str().len()
    )]
    TooLong(PathBuf),
    /// A system call has failed.
    #[error("cannot listen at {path}: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
}

impl ListenError {
    /// Returns `true` if a later attempt may succeed without a change by a person or a program.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Busy(_) => true,
            Self::Io { source, .. } => {
                matches!(
                    source.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::OutOfMemory
                ) || matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
            }
            _ => false,
        }
    }

    /// Returns what to do about the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Live { .. } => "use or stop that daemon, or set STSD_SOCKET to another path",
            Self::Busy(_) => "find the program with lslocks, and stop it",
            Self::NotASocket(_) => "move the file away, or set STSD_SOCKET to another path",
            Self::Directory { .. } => {
                "make the directory yours with mode 0700, or set STSD_SOCKET to a path in such a directory"
            }
            Self::TooLong(_) => "set STSD_SOCKET to a shorter path, for stsd and for its clients",
            Self::Io { source, .. } => hint_for(source),
        }
    }
}

/// Returns the hint for a failed system call, by its error.
fn hint_for(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull => "free space and inodes on its file system",
        ErrorKind::QuotaExceeded => "free space: the quota of this user is used up",
        ErrorKind::NotFound => "create the directory above it, or set STSD_SOCKET to another path",
        ErrorKind::NotADirectory => {
            "a part of the path is a file: move the file away, or set STSD_SOCKET to another path"
        }
        ErrorKind::PermissionDenied => {
            "let this user write to the directory, or set STSD_SOCKET to a path in a directory of \
             this user with mode 0700"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only: set STSD_SOCKET to a path on another one"
        }
        _ if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
            "raise the limit of open files (ulimit -n, LimitNOFILE=)"
        }
        _ => "set STSD_SOCKET to a path in a directory of this user with mode 0700",
    }
}

/// Returns the words for the user of another daemon.
pub(crate) fn of_user(holder: Option<u32>) -> String {
    holder.map_or_else(String::new, |uid| format!(" of uid {uid}"))
}
