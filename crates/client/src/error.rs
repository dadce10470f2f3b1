//! The errors of a request, each with a hint and an exit code.

use std::{
    io::{self, ErrorKind},
    path::PathBuf,
};

use stsd_wire::{Failure, FailureKind, FrameError};

/// A request without a usable reply, or with a failure as its reply.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No daemon listens at any of the sockets tried.
    #[error("no daemon at {}: {source}", list(tried))]
    NotReachable {
        /// The sockets tried.
        tried: Vec<PathBuf>,
        /// The error of the last one. It is part of the message and therefore not the error's
        /// `source()`, which would print it a second time.
        r#source: io::Error,
    },
    /// The request does not fit into a frame.
    #[error("a name or a policy is too long to be asked for")]
    TooLong,
    /// The daemon accepted the connection and did not reply in time.
    #[error("the daemon did not answer in time")]
    TimedOut,
    /// The connection broke before a reply was complete.
    #[error("the connection to the daemon broke: {0}")]
    Broken(io::Error),
    /// The bytes from the daemon are not a reply that this client can decode.
    #[error("the daemon does not speak this protocol: {0}")]
    Protocol(String),
    /// The daemon replied with a failure.
    #[error("{}", .0.message)]
    Refused(Failure),
}

impl Error {
    /// Returns what fixes the error, for humans, in one line; it may be empty.
    #[must_use]
    pub fn hint(&self) -> &str {
        match self {
            Self::NotReachable { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                "the socket is another user's: run `stsd` for yourself, or point STSD_SOCKET at a \
                 socket that is for you"
            }
            Self::NotReachable { .. } => "start it with `stsd`, or point STSD_SOCKET at its socket",
            Self::TooLong => "a profile's name has 64 characters at the most, a policy 2,048",
            Self::TimedOut => {
                "it may be busy, stopped or hung: look at its log, start it again if it stays silent"
            }
            Self::Broken(_) => "look at the daemon's log; it may be restarting",
            Self::Protocol(_) => "check that STSD_SOCKET is the socket of stsd, and its version",
            Self::Refused(failure) => &failure.hint,
        }
    }

    /// Returns `true` if the error is that of a daemon that restarts. A retry soon succeeds,
    /// because the new process has the same sessions and the same socket.
    #[must_use]
    pub fn is_of_a_restart(&self) -> bool {
        match self {
            Self::Broken(_) => true,
            Self::Refused(failure) => failure.kind == FailureKind::Busy,
            _ => false,
        }
    }

    /// Returns `true` if a retry fails until something is changed: the profile's name, a rule, a
    /// role, the version of one side.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::NotReachable { .. } | Self::TimedOut | Self::Broken(_) => false,
            Self::TooLong | Self::Protocol(_) => true,
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
            Self::NotReachable { .. } | Self::TimedOut | Self::Broken(_) => 3,
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

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Self {
        Self::Protocol(error.to_string())
    }
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    shown.join(" or ")
}
