//! Decides who is asking: what the kernel says of the process at the other end.
//!
//! User, group and process number are those of the moment it connected. All else is looked
//! up when a rule or the audit wants it, once a connection.

mod cgroup;
mod groups;
mod process;

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, OnceLock},
};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use tracing::debug;

pub use self::{
    cgroup::Units,
    process::{PidBinding, Process},
};
use crate::runtime::clock::BootTime;

/// A lease, as those are told apart who come by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseId {
    /// Tells it from all others of this process.
    pub number: u32,
    /// The user of whoever holds it.
    pub owner: u32,
}

/// What the kernel says where there is no group.
const NO_GROUP: u32 = u32::MAX;

/// The process that connected, as the kernel knew it at that moment.
#[derive(Debug)]
pub struct Peer {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its process number, where the kernel tells; it may be another process by now.
    pub pid: Option<i32>,
    /// The lease by whose socket it came.
    pub lease: Option<LeaseId>,
    /// When it had connected already.
    accepted: BootTime,
    groups: OnceLock<Box<[u32]>>,
    process: OnceLock<Arc<Process>>,
}

impl Peer {
    /// Asks the kernel who connected; `now` is when the connection was accepted, by the
    /// socket of `lease` if it is one's.
    ///
    /// # Errors
    /// When the kernel does not tell; then nobody is asking.
    pub fn of(stream: &impl AsFd, now: BootTime, lease: Option<LeaseId>) -> io::Result<Self> {
        let credentials = getsockopt(stream, PeerCredentials)?;
        Ok(Self {
            lease,
            uid: credentials.uid(),
            gid: credentials.gid(),
            // The kernel says 0 of a process that our namespace cannot see.
            pid: Some(credentials.pid()).filter(|pid| *pid > 0),
            accepted: now,
            groups: OnceLock::new(),
            process: OnceLock::new(),
        })
    }

    /// Makes the peer of a connection of which only the user is known.
    #[must_use]
    pub fn of_user(uid: u32) -> Self {
        Self {
            uid,
            gid: NO_GROUP,
            pid: None,
            lease: None,
            accepted: BootTime::default(),
            groups: OnceLock::from(Box::default()),
            process: OnceLock::from(Arc::default()),
        }
    }

    /// Looks up at once all that a rule or the audit may want: from then on its socket is not
    /// asked for anything any more.
    pub fn resolve(&self, socket: BorrowedFd<'_>) {
        self.process(socket);
        self.groups(socket);
    }

    /// Tells whether it belonged to a group when it connected.
    pub fn is_in_group(&self, gid: u32, socket: BorrowedFd<'_>) -> bool {
        self.gid == gid || self.groups(socket).contains(&gid)
    }

    /// Returns what is known of the process behind the number; nothing when it has ended,
    /// so that whoever has got its number since is never taken for it.
    pub fn process(&self, socket: BorrowedFd<'_>) -> &Process {
        self.process
            .get_or_init(|| Arc::new(process::inspect(self, socket).unwrap_or_default()))
    }

    /// Returns what is known of the process already, without a look at it.
    #[must_use]
    pub fn cached_process(&self) -> Option<&Arc<Process>> {
        self.process.get()
    }

    /// Its supplementary groups.
    fn groups(&self, socket: BorrowedFd<'_>) -> &[u32] {
        self.groups.get_or_init(|| {
            groups::of(socket).unwrap_or_else(|error| {
                debug!(peer = %self, "its groups cannot be read: {error}");
                Box::default()
            })
        })
    }

    /// A peer of which all is known that a rule can ask.
    #[cfg(test)]
    pub(crate) fn known(uid: u32, groups: &[u32], cgroup: &str) -> Self {
        let process = Process {
            units: Units::of(cgroup),
            ..Process::default()
        };
        Self {
            uid,
            gid: uid,
            pid: Some(1),
            lease: None,
            accepted: BootTime::default(),
            groups: OnceLock::from(Box::from(groups)),
            process: OnceLock::from(Arc::new(process)),
        }
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
