//! The nonces of signed requests, so that no request is accepted twice.

use std::collections::{HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::clock::saturating_add;

/// The time for which a nonce is kept: the whole width of the time-stamp window, so that a request
/// cannot be repeated while its time stamp is valid.
const RETENTION: SignedDuration = SignedDuration::from_mins(30);

/// Maximum number of nonces. At the limit the oldest one is dropped early, which bounds the
/// memory.
const MAX_NONCES: usize = 100_000;

/// The nonces that were used, each with the AccessKey id of its request.
#[derive(Debug, Default)]
pub(crate) struct Nonces {
    used: HashSet<(String, String)>,
    order: VecDeque<(Timestamp, (String, String))>,
}

impl Nonces {
    /// Adds a nonce; `false` if the key has used it already.
    pub(crate) fn insert(&mut self, access_key_id: &str, nonce: &str, now: Timestamp) -> bool {
        let oldest_kept = saturating_add(now, -RETENTION);
        while let Some((used_at, _)) = self.order.front() {
            if *used_at > oldest_kept && self.order.len() < MAX_NONCES {
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
