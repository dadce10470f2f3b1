//! Which SignatureNonce has been seen, per AccessKeyId.
//!
//! A time stamp is good for a quarter of an hour before and after the server's
//! clock, so a nonce has to be remembered for half an hour.

use std::collections::{HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::clock;

const REMEMBERED: SignedDuration = SignedDuration::from_mins(30);

/// More than this within half an hour, and the oldest are forgotten.
const MOST_NONCES: usize = 100_000;

/// The nonces of the last half hour.
#[derive(Debug, Default)]
pub(crate) struct Nonces {
    seen: HashSet<(String, String)>,
    in_order: VecDeque<(Timestamp, (String, String))>,
}

impl Nonces {
    /// Notes the nonce; false if it was there already.
    pub(crate) fn take(&mut self, access_key_id: &str, nonce: &str, now: Timestamp) -> bool {
        let horizon = clock::shifted(now, -REMEMBERED);
        while let Some((at, _)) = self.in_order.front()
            && (*at < horizon || self.in_order.len() >= MOST_NONCES)
        {
            if let Some((_, old)) = self.in_order.pop_front() {
                self.seen.remove(&old);
            }
        }
        let entry = (access_key_id.to_owned(), nonce.to_owned());
        let is_new = self.seen.insert(entry.clone());
        if is_new {
            self.in_order.push_back((now, entry));
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    #[test]
    fn a_nonce_is_good_once_in_half_an_hour_per_key() {
        let mut nonces = Nonces::default();
        assert!(nonces.take("a", "1", at(0)));
        assert!(!nonces.take("a", "1", at(30)));
        assert!(nonces.take("b", "1", at(30)));
        assert!(nonces.take("a", "2", at(30)));
        assert!(nonces.take("a", "1", at(31)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut nonces = Nonces::default();
        for n in 0..=MOST_NONCES {
            assert!(nonces.take("a", &n.to_string(), at(0)));
        }
        assert_eq!(nonces.in_order.len(), MOST_NONCES);
        assert_eq!(nonces.seen.len(), MOST_NONCES);
        assert!(nonces.take("a", "0", at(0)));
    }
}
