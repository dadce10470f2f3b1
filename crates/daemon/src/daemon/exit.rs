//! The reasons for which the daemon ends, or cannot run.

use std::{io, net::TcpListener, os::fd::OwnedFd};

use stsd_sts::StsError;

use crate::{config::ConfigErrors, serve::ServeError};

/// The reason why the daemon has ended.
#[derive(Debug)]
pub enum ExitReason {
    /// A signal has stopped the daemon.
    Stopped,
    /// A new program replaces the daemon, with these descriptors.
    Replaced {
        /// The sessions.
        sessions: Option<OwnedFd>,
        /// The loopback socket.
        tcp: Option<TcpListener>,
    },
}

/// The reason why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The client of STS cannot be created.
    #[error(transparent)]
    Sts(#[from] StsError),
    /// A file of the configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A step of the start has failed.
    #[error("{0}")]
    Start(&'static str, #[source] io::Error),
    /// The event loop has ended, so that no request is answered any more.
    #[error("the event loop has failed, and no request can be answered: {0}")]
    EventLoop(io::Error),
    /// A background task of the sockets has ended.
    #[error(transparent)]
    Serve(#[from] ServeError),
}
