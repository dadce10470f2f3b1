//! Decides who is said to have asked for a profile last.
//!
//! Noting it belongs to each hand-out, so nothing is looked up or allocated for it: of the
//! process there is what the audit or a rule has read while it lived, or nothing.

use std::sync::{Arc, Mutex};

use crate::{
    access::peer::{Peer, Process},
    audit::Asked,
    runtime::{clock::BootTime, sync::lock},
};

/// Somebody who has asked for credentials.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its user.
    pub uid: u32,
    /// Its process number, where the kernel told.
    pub pid: Option<i32>,
    /// How it asked.
    pub asked: Asked,
    /// When.
    pub at: BootTime,
    /// What was known of its process then.
    pub process: Option<Arc<Process>>,
}

/// The last one who asked. All are noted on the thread that serves, so nobody ever waits
/// for the lock.
#[derive(Debug, Default)]
pub struct LastCaller(Mutex<Option<Caller>>);

impl Caller {
    fn of(peer: &Peer, asked: Asked, at: BootTime) -> Self {
        Self {
            uid: peer.uid,
            pid: peer.pid,
            asked,
            at,
            process: peer.known_process().cloned(),
        }
    }

    /// Tells whether it is this peer, of which no more is known by now, and it asks as before.
    fn is(&self, peer: &Peer, asked: Asked) -> bool {
        let known = self.process.as_ref().map(Arc::as_ptr);
        (self.uid, self.pid, self.asked) == (peer.uid, peer.pid, asked)
            && known == peer.known_process().map(Arc::as_ptr)
    }
}

impl LastCaller {
    /// Notes that a peer asks now.
    pub fn note(&self, peer: &Peer, asked: Asked, at: BootTime) {
        let mut caller = lock(&self.0);
        match &mut *caller {
            Some(caller) if caller.is(peer, asked) => caller.at = at,
            other => *other = Some(Caller::of(peer, asked, at)),
        }
    }

    /// Returns who asked last, if anybody has.
    #[must_use]
    pub fn who(&self) -> Option<Caller> {
        let caller = lock(&self.0);
        caller.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_last_is_known_with_the_moment_and_all_that_is_known_by_then() {
        let last = LastCaller::default();
        let who = |peer: &Peer, asked, millis| {
            last.note(peer, asked, BootTime::from_millis(millis));
            let who = last.who().unwrap();
            (
                who.uid,
                who.asked,
                who.at.as_millis(),
                who.process.is_some(),
            )
        };
        let [known, other] = [1, 2].map(|uid| Peer::known(uid, &[], "/"));
        let unknown = Peer::of_user(1);
        let credentials = Asked::Credentials;
        assert_eq!(who(&known, credentials, 5), (1, credentials, 5, true));
        assert_eq!(who(&known, credentials, 6), (1, credentials, 6, true));
        assert_eq!(who(&known, Asked::Url, 7), (1, Asked::Url, 7, true));
        assert_eq!(who(&other, Asked::Url, 8), (2, Asked::Url, 8, true));
        let process = |peer: &Peer| {
            last.note(peer, credentials, BootTime::default());
            last.who().and_then(|it| it.process)
        };
        let [first, second] = [&known, &unknown].map(process);
        assert!(!Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
    }
}
