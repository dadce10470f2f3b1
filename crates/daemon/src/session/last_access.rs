//! The last access to a profile.
//!
//! Each served request records an access, therefore the record inspects and allocates nothing. The
//! process is the one that the audit or a rule has inspected already, if any.

use std::sync::{Arc, Mutex};

use crate::{
    access::{
        Operation,
        peer::{Peer, Process},
    },
    runtime::{clock::BootTime, sync::lock},
};

/// One access to a profile.
#[derive(Debug, Clone)]
pub struct LastAccess {
    /// The user of the caller.
    pub uid: u32,
    /// The process number of the caller; `None` if the kernel does not report it.
    pub pid: Option<i32>,
    /// The operation.
    pub asked: Operation,
    /// The time of the access.
    pub at: BootTime,
    /// The process of the caller; `None` if it was not inspected.
    pub process: Option<Arc<Process>>,
}

/// The last access, if there was one. The lock is nearly always free: the thread that serves the
/// socket writes, and a status request reads.
#[derive(Debug, Default)]
pub struct LastAccessCell(Mutex<Option<LastAccess>>);

impl LastAccess {
    fn of(peer: &Peer, asked: Operation, at: BootTime) -> Self {
        Self {
            uid: peer.uid,
            pid: peer.pid,
            asked,
            at,
            process: peer.cached_process().cloned(),
        }
    }

    /// Returns `true` if an access by `peer` would differ in its time only.
    fn is_repeated_by(&self, peer: &Peer, asked: Operation) -> bool {
        let known = self.process.as_ref().map(Arc::as_ptr);
        (self.uid, self.pid, self.asked) == (peer.uid, peer.pid, asked)
            && known == peer.cached_process().map(Arc::as_ptr)
    }
}

impl LastAccessCell {
    /// Records an access.
    pub fn record(&self, peer: &Peer, asked: Operation, at: BootTime) {
        let mut access = lock(&self.0);
        match &mut *access {
            Some(access) if access.is_repeated_by(peer, asked) => access.at = at,
            other => *other = Some(LastAccess::of(peer, asked, at)),
        }
    }

    /// Returns the last access; `None` if there was none.
    #[must_use]
    pub fn get(&self) -> Option<LastAccess> {
        let access = lock(&self.0);
        access.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_access_has_user_operation_time_and_inspected_process() {
        let last = LastAccessCell::default();
        let record = |peer: &Peer, asked, millis| {
            last.record(peer, asked, BootTime::from_millis(millis));
            let access = last.get().unwrap();
            (
                access.uid,
                access.asked,
                access.at.as_millis(),
                access.process.is_some(),
            )
        };
        let [first, other] = [1, 2].map(|uid| Peer::known(uid, &[], "/"));
        let same_user = Peer::of_user(1);
        let (credentials, url) = (Operation::Credentials, Operation::Url);
        assert_eq!(record(&first, credentials, 5), (1, credentials, 5, true));
        assert_eq!(record(&first, credentials, 6), (1, credentials, 6, true));
        assert_eq!(record(&first, url, 7), (1, url, 7, true));
        assert_eq!(record(&other, url, 8), (2, url, 8, true));
        let process = |peer: &Peer| {
            last.record(peer, credentials, BootTime::default());
            last.get().and_then(|it| it.process)
        };
        let [first, second] = [&first, &same_user].map(process);
        assert!(!Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
    }
}
