//! The peer of a connection, as the kernel describes it.
//!
//! User, group and process number are those of the moment at which the peer connected. Groups
//! and process are inspected once a connection, when a rule or the audit needs them.

mod cgroup;
mod groups;
mod pod;
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

/// The identifier of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseId {
    /// The number of the lease, unique within this process.
    pub number: u32,
    /// The user that holds the lease.
    pub owner: u32,
}

/// The group of a peer whose group is unknown, as `SO_PEERCRED` reports it.
const NO_GROUP: u32 = u32::MAX;

/// The process that connected, as the kernel described it at that moment.
#[derive(Debug)]
pub struct Peer {
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
    /// The process number; `None` if the kernel does not report it. The number may belong to
    /// another process by now.
    pub pid: Option<i32>,
    /// The lease on whose socket the peer connected.
    pub lease: Option<LeaseId>,
    /// The time at which the connection was accepted; the peer connected before it.
    accepted: BootTime,
    groups: OnceLock<Box<[u32]>>,
    process: OnceLock<Arc<Process>>,
}

impl Peer {
    /// Returns the peer of a connection that was accepted at `now`, on the socket of `lease` if
    /// there is one.
    ///
    /// # Errors
    /// `getsockopt` with `SO_PEERCRED` has failed.
    pub fn of(stream: &impl AsFd, now: BootTime, lease: Option<LeaseId>) -> io::Result<Self> {
        let credentials = getsockopt(stream, PeerCredentials)?;
        Ok(Self {
            lease,
            uid: credentials.uid(),
            gid: credentials.gid(),
            // The kernel reports 0 for a process outside of the daemon's PID namespace.
            pid: Some(credentials.pid()).filter(|pid| *pid > 0),
            accepted: now,
            groups: OnceLock::new(),
            process: OnceLock::new(),
        })
    }

    /// Returns the peer of a connection of which only the user is known.
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

    /// Inspects the groups and the process now. Later calls do not use the socket any more.
    pub fn resolve(&self, socket: BorrowedFd<'_>) {
        self.process(socket);
        self.groups(socket);
    }

    /// Returns `true` if the peer belonged to a group when it connected.
    pub fn is_in_group(&self, gid: u32, socket: BorrowedFd<'_>) -> bool {
        self.gid == gid || self.groups(socket).contains(&gid)
    }

    /// Returns the process of the peer; an empty [`Process`] if the process has ended. Another
    /// process that has received its number is never reported.
    pub fn process(&self, socket: BorrowedFd<'_>) -> &Process {
        self.process
            .get_or_init(|| Arc::new(process::inspect(self, socket).unwrap_or_default()))
    }

    /// Returns the process if it has been inspected already.
    #[must_use]
    pub fn cached_process(&self) -> Option<&Arc<Process>> {
        self.process.get()
    }

    /// Returns the supplementary groups; none if the kernel does not report them.
    fn groups(&self, socket: BorrowedFd<'_>) -> &[u32] {
        self.groups.get_or_init(|| {
            groups::of(socket).unwrap_or_else(|error| {
                debug!(peer = %self, "cannot read the groups of the peer: {error}");
                Box::default()
            })
        })
    }

    /// Returns the peer with another proof of its process, for tests of rules.
    #[cfg(test)]
    pub(crate) fn bound_by(self, binding: PidBinding) -> Self {
        let process = Process {
            binding: Some(binding),
            ..Process::clone(&self.process.get().cloned().unwrap_or_default())
        };
        Self {
            process: OnceLock::from(Arc::new(process)),
            ..self
        }
    }

    /// Returns a peer with groups and units, for tests of rules.
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
