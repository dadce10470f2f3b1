//! Nonces already used: a request is good once.
//!
//! Remembered for thirty minutes, which is the whole width of the time window, so
//! that a request cannot be played again while its time stamp is still good.

use std::collections::{HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::clock::shifted;

const MEMORY: SignedDuration = SignedDuration::from_mins(30);

/// Past this many the oldest is forgotten early; memory is worth more here.
const LIMIT: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct Nonces {
    used: HashSet<(String, String)>,
    order: VecDeque<(Timestamp, (String, String))>,
}

impl Nonces {
    /// Uses a nonce of a key up; false when it was used before.
    pub(crate) fn spend(&mut self, access_key_id: &str, nonce: &str, now: Timestamp) -> bool {
        let horizon = shifted(now, -MEMORY);
        while let Some((when, _)) = self.order.front() {
            if *when > horizon && self.order.len() < LIMIT {
                break;
            }
            if let Some((_, old)) = self.order.pop_front() {
                self.used.remove(&old);
            }
        }
        let nonce = (access_key_id.to_owned(), nonce.to_owned());
        if !self.used.insert(nonce.clone()) {
            return false;
        }
        self.order.push_back((now, nonce));
        true
    }
}
