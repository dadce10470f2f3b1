//! Decides who is said to have asked for a profile last.
//!
//! Noting it belongs to each hand-out, so nothing is looked up or allocated for it: of the
//! process there is what the audit or a rule has read while it lived, or nothing.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    audit::Asked,
    clock::BootTime,
    peer::{Peer, Process},
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
    /// Makes it of a peer that asks now.
    #[must_use]
    pub fn of(peer: &Peer, asked: Asked, at: BootTime) -> Self {
        Self {
            uid: peer.uid,
            pid: peer.pid,
            asked,
            at,
            process: peer.known_process(),
        }
    }
}

impl LastCaller {
    /// Notes who asks.
    pub fn note(&self, caller: Caller) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(caller);
    }

    /// Returns who asked last, if anybody has.
    #[must_use]
    pub fn who(&self) -> Option<Caller> {
        let caller = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        caller.clone()
    }
}
