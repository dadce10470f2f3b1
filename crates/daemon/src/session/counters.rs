//! The counters of a profile. They only grow, and a reload keeps them for a profile of the same
//! name. `stsctl` formats them.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use stsd_sts::StsError;

/// The kind of a failure of the identity provider; all other kinds are failures of STS.
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

/// The counters of one profile.
#[derive(Default)]
pub struct Counters {
    sts_calls: AtomicU64,
    hand_outs: AtomicU64,
    /// The number of sessions that were served at least once.
    served_sessions: AtomicU64,
    renewals: AtomicU64,
    renewal_millis: AtomicU64,
    last_renewal_millis: AtomicU64,
    failures: [AtomicU32; KINDS.len()],
}

impl Counters {
    /// Counts a call to STS that is about to be made.
    pub fn count_call(&self) {
        self.sts_calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a failed attempt, also one whose answer could not be used.
    pub fn count_failure(&self, kind: &str) {
        if let Some(index) = KINDS.iter().position(|known| *known == kind) {
            self.failures[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a renewal, and the duration of its successful call.
    pub fn count_renewal(&self, call_duration: Duration) {
        let millis = u64::try_from(call_duration.as_millis()).unwrap_or(u64::MAX);
        self.renewals.fetch_add(1, Ordering::Relaxed);
        self.renewal_millis.fetch_add(millis, Ordering::Relaxed);
        self.last_renewal_millis.store(millis, Ordering::Relaxed);
    }

    /// Counts served credentials.
    pub fn count_served(&self) {
        self.hand_outs.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a session that is served for the first time.
    pub fn count_served_session(&self) {
        self.served_sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of calls to STS.
    #[must_use]
    pub fn sts_calls(&self) -> u64 {
        self.sts_calls.load(Ordering::Relaxed)
    }

    /// Returns the number of calls that sharing has saved: one for each time that a session was
    /// served again. A program without stsd calls STS each time.
    #[must_use]
    pub fn calls_saved(&self) -> u64 {
        let served_sessions = self.served_sessions.load(Ordering::Relaxed);
        self.hand_outs().saturating_sub(served_sessions)
    }

    /// Returns the number of times that credentials were served.
    #[must_use]
    pub fn hand_outs(&self) -> u64 {
        self.hand_outs.load(Ordering::Relaxed)
    }

    /// Returns the number of renewals, the milliseconds of all their calls, and the milliseconds
    /// of the last call.
    #[must_use]
    pub fn renewals(&self) -> (u64, u64, u64) {
        (
            self.renewals.load(Ordering::Relaxed),
            self.renewal_millis.load(Ordering::Relaxed),
            self.last_renewal_millis.load(Ordering::Relaxed),
        )
    }

    /// Returns the number of failed attempts by kind, without the kinds that never occurred.
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
    fn counters_return_the_counted_numbers() {
        let counters = Counters::default();
        counters.count_call();
        counters.count_call();
        counters.count_failure("unreadable");
        counters.count_failure(SOURCE);
        counters.count_failure("unknown kind");
        counters.count_renewal(Duration::from_millis(70));
        counters.count_renewal(Duration::from_millis(30));
        counters.count_served_session();
        for _ in 0..3 {
            counters.count_served();
        }
        assert_eq!(counters.sts_calls(), 2);
        assert_eq!(counters.failures(), [("unreadable", 1), (SOURCE, 1)]);
        assert_eq!(counters.renewals(), (2, 100, 30));
        assert_eq!((counters.hand_outs(), counters.calls_saved()), (3, 2));
    }
}
