//! Decides who is asking: what the kernel says of the process at the other end.

use std::{fmt, io};

use tokio::net::UnixStream;

/// The process that connected, as the kernel knew it at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its process number, where the kernel tells; it may be another process by now.
    pub pid: Option<i32>,
}

impl Peer {
    /// Asks the kernel who connected.
    ///
    /// # Errors
    /// When the kernel does not tell; then nobody is asking.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid(),
        })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.uid)?;
        match self.pid {
            Some(pid) => write!(f, " pid {pid}"),
            None => Ok(()),
        }
    }
}
