//! The errors of a request, each with a hint and an exit code.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use stsd_wire::{Failure, FailureKind, FrameError};

/// A request without a usable reply, or with a failure as its reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No daemon listens at the socket.
    #[non_exhaustive]
    #[error("no daemon at {}: {source}{} [no-daemon]", socket.display(), missing_variable(*lacks_runtime_dir))]
    NotReachable {
        /// The socket.
        socket: PathBuf,
        /// The reason. It is part of the message and therefore not the error's `source()`, which
        /// would print it a second time.
        r#source: io::Error,
        /// `true` if `XDG_RUNTIME_DIR`, which leads to the user's daemon, is not set.
        lacks_runtime_dir: bool,
    },
    /// The process that listens at the socket belongs to another user. The process receives no request.
    #[non_exhaustive]
    #[error(
        "the process that listens at {} belongs to uid {uid}, which is neither this user nor root [foreign-server]",
        socket.display()
    )]
    ForeignServer {
        /// The socket.
        socket: PathBuf,
        /// The user of the process.
        uid: u32,
        /// `STSD_SERVER_UID` is set, and is no uid.
        is_variable_unusable: bool,
    },
    /// The request does not fit into a frame.
    #[error("a name or a policy is too long to be asked for [request-too-long]")]
    TooLong,
    /// The daemon accepted the connection and did not reply in time.
    #[non_exhaustive]
    #[error("the daemon{} did not answer in time [daemon-timeout]", at(socket))]
    TimedOut {
        /// The socket; empty if there was no attempt.
        socket: PathBuf,
    },
    /// The connection broke before a reply was complete.
    #[non_exhaustive]
    #[error(
        "the connection to the daemon{} broke: {source} [connection-broken]",
        at(socket)
    )]
    Broken {
        /// The socket; empty if there was no connection.
        socket: PathBuf,
        /// The reason, as of [`NotReachable`](Self::NotReachable).
        r#source: io::Error,
    },
    /// The bytes from the daemon are not a reply that this client can decode.
    #[error("the daemon does not speak this protocol: {0} [protocol-mismatch]")]
    Protocol(String),
    /// The daemon replied with a failure.
    #[error("{}", .0.message)]
    Refused(Failure),
}

impl Error {
    /// Returns the error with the socket of the connection.
    pub(crate) fn at(self, place: &Path) -> Self {
        let socket = place.to_owned();
        match self {
            Self::TimedOut { .. } => Self::TimedOut { socket },
            Self::Broken { source, .. } => Self::Broken { socket, source },
            other => other,
        }
    }

    /// Returns what fixes the error, for humans, in one line; it may be empty.
    #[must_use]
    pub fn hint(&self) -> &str {
        match self {
            Self::NotReachable { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                "the socket is another user's: run `stsd` for yourself, or point STSD_SOCKET at a \
                 socket that is for you"
            }
            Self::NotReachable { source, .. } if source.kind() == ErrorKind::Other => {
                "end the daemon, make the directory a directory of mode 0700, and start the daemon"
            }
            Self::NotReachable { source, .. } if source.kind() == ErrorKind::InvalidFilename => {
                "set STSD_SOCKET to a shorter path, for the daemon and for its clients"
            }
            Self::NotReachable {
                lacks_runtime_dir: true,
                ..
            } => {
                "set XDG_RUNTIME_DIR or STSD_SOCKET as in the session in which the daemon runs; if \
                 none runs, start it with `stsd`"
            }
            Self::NotReachable { source, .. } if source.kind() == ErrorKind::NotFound => {
                "start it with `stsd`, or point STSD_SOCKET at its socket; stsctl init sets it up"
            }
            Self::NotReachable { .. } => "start it with `stsd`, or point STSD_SOCKET at its socket",
            Self::ForeignServer {
                is_variable_unusable: true,
                ..
            } => {
                "STSD_SERVER_UID is set, and is no uid: set it to the number of that daemon's user"
            }
            Self::ForeignServer { .. } => {
                "find out whose process it is; if that user's daemon is meant, set STSD_SERVER_UID \
                 to the uid"
            }
            Self::TooLong => "a profile's name has 64 characters at the most, a policy 2,048",
            Self::TimedOut { .. } => {
                "it may be busy, stopped or hung: look at its log, start it again if it stays silent"
            }
            Self::Broken { .. } => "look at the daemon's log; it may be restarting",
            Self::Protocol(_) => "check that STSD_SOCKET is the socket of stsd, and its version",
            Self::Refused(failure) => &failure.hint,
        }
    }

    /// Returns `true` if the error is that of a daemon that is away or restarts. A retry succeeds once
    /// the next process listens at the same socket. The requests of this crate are retried within
    /// their patience; a watch and a lease that have begun are not.
    #[must_use]
    pub fn is_of_a_restart(&self) -> bool {
        match self {
            Self::NotReachable { source, .. } => matches!(
                source.kind(),
                ErrorKind::ConnectionRefused
                    | ErrorKind::NotFound
                    | ErrorKind::PermissionDenied
                    | ErrorKind::Interrupted
            ),
            Self::Broken { .. } => true,
            Self::Refused(failure) => failure.kind == FailureKind::Busy,
            _ => false,
        }
    }

    /// Returns `true` if a retry fails until something is changed: the profile's name, a rule, a
    /// role, the version of one side.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::NotReachable { .. } | Self::TimedOut { .. } | Self::Broken { .. } => false,
            Self::ForeignServer { .. } | Self::TooLong | Self::Protocol(_) => true,
            Self::Refused(failure) => matches!(
                failure.kind,
                FailureKind::UnknownProfile
                    | FailureKind::NotAllowed
                    | FailureKind::DeniedBySts
                    | FailureKind::WrongVersion
                    | FailureKind::Malformed
                    | FailureKind::BadConfig
            ),
        }
    }

    /// Returns the exit code of the project's programs for this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotReachable { .. }
            | Self::ForeignServer { .. }
            | Self::TimedOut { .. }
            | Self::Broken { .. } => 3,
            Self::TooLong => 2,
            Self::Protocol(_) => 8,
            Self::Refused(failure) => match failure.kind {
                FailureKind::UnknownProfile => 4,
                FailureKind::NotAllowed => 5,
                FailureKind::DeniedBySts => 7,
                FailureKind::WrongVersion | FailureKind::Malformed => 8,
                FailureKind::BadConfig => 2,
                _ => 6,
            },
        }
    }
}

fn missing_variable(lacks_runtime_dir: bool) -> &'static str {
    if lacks_runtime_dir {
        "; XDG_RUNTIME_DIR is not set"
    } else {
        ""
    }
}

/// Returns the place of a socket for a message, if there is one.
fn at(socket: &Path) -> String {
    if socket.as_os_str().is_empty() {
        return String::new();
    }
    format!(" at {}", socket.display())
}

/// Returns the error for a frame that cannot be decoded. Not `From`, which would make a type of
/// stsd-wire a part of this crate's interface.
pub(crate) fn malformed(error: FrameError) -> Error {
    Error::Protocol(error.to_string())
}

/// Returns the error of a read or a write. The connection adds its socket.
pub(crate) fn broken(error: io::Error) -> Error {
    let socket = PathBuf::new();
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::TimedOut { socket },
        _ => Error::Broken {
            socket,
            source: error,
        },
    }
}
