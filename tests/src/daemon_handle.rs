//! The daemon as a process.

use std::{
    ops::Deref,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Process, unix_sockets::accepted_connections};

/// The daemon's log line when it serves.
pub const DAEMON_READY: &str = concat!("stsd ", env!("CARGO_PKG_VERSION"), " is ready");

/// A running daemon. It is killed when the handle is dropped.
pub struct DaemonHandle {
    process: Process,
    socket: PathBuf,
}

impl DaemonHandle {
    /// Starts a daemon by a command, with its log at level trace in a file.
    pub(crate) fn start(mut command: Command, log: &Path, socket: PathBuf) -> Self {
        command.env("RUST_LOG", "trace").stdin(Stdio::null());
        Self {
            process: Process::start(command, log),
            socket,
        }
    }

    /// Returns the number of open connections at the daemon's socket. For a moment one of them may
    /// be the daemon's own check of its socket, so a story waits for a number.
    #[must_use]
    pub fn connections(&self) -> usize {
        accepted_connections(&self.socket)
    }

    /// Waits for the daemon's exit; returns the exit code, or `None` after a signal.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.process.wait()
    }
}

impl Deref for DaemonHandle {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}
