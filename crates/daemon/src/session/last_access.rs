//! Decides who is said to have asked for a profile last.
//!
//! Noting it belongs to each hand-out, so nothing is looked up or allocated for it: of the
//! process there is what the audit or a rule has read while it lived, or nothing.

use std::sync::{Arc, Mutex};

use crate::{
    access::{
        Operation,
        peer::{Peer, Process},
    },
    runtime::{clock::BootTime, sync::lock},
};

/// Somebody who has asked for credentials.
#[derive(Debug, Clone)]
pub struct LastAccess {
    /// Its user.
    pub uid: u32,
    /// Its process number, where the kernel told.
    pub pid: Option<i32>,
    /// How it asked.
    pub asked: Operation,
    /// When.
    pub at: BootTime,
    /// What was known of its process then.
    pub process: Option<Arc<Process>>,
}

/// The last one who asked. All are noted on the thread that serves, so nobody ever waits
/// for the lock.
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

    /// Tells whether it is this peer, of which no more is known by now, and it asks as before.
    fn is(&self, peer: &Peer, asked: Operation) -> bool {
        let known = self.process.as_ref().map(Arc::as_ptr);
        (self.uid, self.pid, self.asked) == (peer.uid, peer.pid, asked)
            && known == peer.cached_process().map(Arc::as_ptr)
    }
}

impl LastAccessCell {
    /// Notes that a peer asks now.
    pub fn record(&self, peer: &Peer, asked: Operation, at: BootTime) {
        let mut access = lock(&self.0);
        match &mut *access {
            Some(access) if access.is(peer, asked) => access.at = at,
            other => *other = Some(LastAccess::of(peer, asked, at)),
        }
    }

    /// Returns who asked last, if anybody has.
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
    fn who_asked_last_is_known_with_the_moment_and_all_that_is_known_by_then() {
        let last = LastAccessCell::default();
        let who = |peer: &Peer, asked, millis| {
            last.record(peer, asked, BootTime::from_millis(millis));
            let who = last.get().unwrap();
            (
                who.uid,
                who.asked,
                who.at.as_millis(),
                who.process.is_some(),
            )
        };
        let [known, other] = [1, 2].map(|uid| Peer::known(uid, &[], "/"));
        let unknown = Peer::of_user(1);
        let credentials = Operation::Credentials;
        assert_eq!(who(&known, credentials, 5), (1, credentials, 5, true));
        assert_eq!(who(&known, credentials, 6), (1, credentials, 6, true));
        assert_eq!(who(&known, Operation::Url, 7), (1, Operation::Url, 7, true));
        assert_eq!(who(&other, Operation::Url, 8), (2, Operation::Url, 8, true));
        let process = |peer: &Peer| {
            last.record(peer, credentials, BootTime::default());
            last.get().and_then(|it| it.process)
        };
        let [first, second] = [&known, &unknown].map(process);
        assert!(!Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
    }
}
