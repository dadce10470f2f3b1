//! Decides what is counted. Counters only grow, and a reload that keeps a profile's name
//! keeps them; how they are shown is a matter of `stsctl`.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use stsd_sts::StsError;

/// The kind of a failure that was not one of STS: we could not say who we are.
pub const SOURCE: &str = "source";

/// Every kind of failure.
const KINDS: [&str; StsError::KINDS.len() + 1] = {
    let mut kinds = [SOURCE; StsError::KINDS.len() + 1];
    let mut index = 0;
    while index < StsError::KINDS.len() {
        kinds[index] = StsError::KINDS[index];
        index += 1;
    }
    kinds
};

/// What is counted for one profile.
#[derive(Default)]
pub struct Counters {
    sts_calls: AtomicU64,
    hand_outs: AtomicU64,
    /// How many of them were the first of a session.
    firsts: AtomicU64,
    renewals: AtomicU64,
    renewal_millis: AtomicU64,
    last_renewal_millis: AtomicU64,
    failures: [AtomicU32; KINDS.len()],
}

impl Counters {
    /// Counts a call to STS that is about to be made.
    pub fn call(&self) {
        self.sts_calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an attempt that failed, or whose answer could not be used.
    pub fn failure(&self, kind: &str) {
        if let Some(index) = KINDS.iter().position(|known| *known == kind) {
            self.failures[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a renewal, and how long the call took that succeeded.
    pub fn renewal(&self, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.renewals.fetch_add(1, Ordering::Relaxed);
        self.renewal_millis.fetch_add(millis, Ordering::Relaxed);
        self.last_renewal_millis.store(millis, Ordering::Relaxed);
    }

    /// Counts a hand-out, the first one of its session or another.
    pub fn served(&self, first: bool) {
        self.hand_outs.fetch_add(1, Ordering::Relaxed);
        if first {
            self.firsts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the calls made to STS.
    #[must_use]
    pub fn sts_calls(&self) -> u64 {
        self.sts_calls.load(Ordering::Relaxed)
    }

    /// Returns the calls that sharing saved: all but the first hand-out of a session, because a
    /// program that asks STS by itself makes one for each.
    #[must_use]
    pub fn calls_saved(&self) -> u64 {
        let firsts = self.firsts.load(Ordering::Relaxed);
        self.hand_outs().saturating_sub(firsts)
    }

    /// Returns the answers given with credentials.
    #[must_use]
    pub fn hand_outs(&self) -> u64 {
        self.hand_outs.load(Ordering::Relaxed)
    }

    /// Returns the renewals that succeeded, and how many milliseconds they took in all and
    /// the last one took.
    #[must_use]
    pub fn renewals(&self) -> (u64, u64, u64) {
        (
            self.renewals.load(Ordering::Relaxed),
            self.renewal_millis.load(Ordering::Relaxed),
            self.last_renewal_millis.load(Ordering::Relaxed),
        )
    }

    /// Returns the attempts that failed, by the kind of failure, without those that never
    /// happened.
    #[must_use]
    pub fn failures(&self) -> Vec<(&'static str, u64)> {
        let counts = self
            .failures
            .iter()
            .map(|it| it.load(Ordering::Relaxed).into());
        KINDS
            .into_iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_can_be_read() {
        let counters = Counters::default();
        counters.call();
        counters.call();
        counters.failure("unreadable");
        counters.failure(SOURCE);
        counters.failure("of no kind");
        counters.renewal(Duration::from_millis(70));
        counters.renewal(Duration::from_millis(30));
        counters.served(true);
        counters.served(false);
        counters.served(false);
        assert_eq!(counters.sts_calls(), 2);
        assert_eq!(counters.failures(), [("unreadable", 1), (SOURCE, 1)]);
        assert_eq!(counters.renewals(), (2, 100, 30));
        assert_eq!((counters.hand_outs(), counters.calls_saved()), (3, 2));
    }
}
