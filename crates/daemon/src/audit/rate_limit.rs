//! Decides which events are said and which are only counted. Pure arithmetic.
//!
//! Each process has a burst of 10 and then one a second; all of a user's processes together
//! have a burst of 100 and then ten a second, because a loop in a shell is a new process
//! each time. Refusals are counted apart: a crowd of hand-outs must not hide one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::runtime::clock::BootTime;

/// How many peers are remembered at the most; the rest share one place.
const MAX_KEYS: usize = 4096;

/// From so many on, those who have been quiet are forgotten, once a second.
const PRUNE_ABOVE: usize = 1024;

const PROCESS_RATE: Rate = Rate {
    interval: Duration::from_secs(1),
    burst: 10,
};

const USER_RATE: Rate = Rate {
    interval: Duration::from_millis(100),
    burst: 100,
};

/// Whose events are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RateKey {
    /// A user; none stands for all that there is no room for.
    pub(super) uid: Option<u32>,
    /// A process of that user; none for all of them.
    pub(super) pid: Option<i32>,
    /// Refusals, or hand-outs.
    pub(super) refused: bool,
}

/// Remembers how much each peer has had said.
#[derive(Default)]
pub(super) struct AuditRateLimiter {
    /// By comparison: a hash that nobody can provoke collisions of costs more.
    quotas: BTreeMap<RateKey, Arc<Quota>>,
    pruned_at: BootTime,
}

struct Rate {
    interval: Duration,
    burst: u32,
}

/// What becomes of an event.
#[derive(Debug)]
pub(super) enum Admission {
    /// It is said.
    Emit,
    /// It is counted, as the first one to be summed up or not. If its process has had all of its
    /// share, this is it.
    Suppress(bool, Option<Arc<Quota>>),
}

/// What a user or a process has had said. A connection whose process has had all of it keeps
/// this, so that nothing has to be looked up for whoever asks in a loop.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    /// When it has its whole burst again.
    full_at_millis: AtomicU64,
    suppressed: AtomicU64,
}

impl AuditRateLimiter {
    /// Decides what becomes of an event.
    pub(super) fn check(&mut self, key: RateKey, now: BootTime) -> Admission {
        // The process first: one that loops uses up its own share, and not its user's.
        if let Some(quota) = self.quotas.get(&key).filter(|_| key.pid.is_some())
            && quota.is_used_up(now)
        {
            return Admission::Suppress(quota.count(), Some(Arc::clone(quota)));
        }
        if self.quotas.len() >= PRUNE_ABOVE && now.since(self.pruned_at) >= Duration::from_secs(1) {
            self.prune(now);
        }
        let user = self.key_for(RateKey { pid: None, ..key });
        let quota = self.quotas.entry(user).or_default();
        if !USER_RATE.is_within(quota, now) {
            return Admission::Suppress(quota.count(), None);
        }
        USER_RATE.take(quota, now);
        if key.pid.is_some() && self.key_for(key) == key {
            PROCESS_RATE.take(self.quotas.entry(key).or_default(), now);
        }
        Admission::Emit
    }

    /// Returns what was counted since the last time, and forgets who has been quiet.
    pub(super) fn take_counts(&mut self, now: BootTime) -> Vec<(RateKey, u64)> {
        let counted = self
            .quotas
            .iter()
            .map(|(key, quota)| (*key, quota.suppressed.swap(0, Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect();
        self.prune(now);
        counted
    }

    fn prune(&mut self, now: BootTime) {
        self.pruned_at = now;
        self.quotas.retain(|_, quota| {
            let counted = quota.suppressed.load(Ordering::Relaxed) > 0;
            // What a connection counts in must be summed up.
            counted || quota.full_at() > now || Arc::strong_count(quota) > 1
        });
    }

    /// Where somebody is counted.
    fn key_for(&self, key: RateKey) -> RateKey {
        if self.quotas.len() < MAX_KEYS || self.quotas.contains_key(&key) {
            return key;
        }
        RateKey {
            uid: None,
            pid: None,
            ..key
        }
    }
}

impl Quota {
    /// Tells whether a process that has had this much has had all of it for now.
    pub(super) fn is_used_up(&self, now: BootTime) -> bool {
        !PROCESS_RATE.is_within(self, now)
    }

    /// Counts an event that is not said; tells whether it is the first one to be summed up.
    pub(super) fn count(&self) -> bool {
        self.suppressed.fetch_add(1, Ordering::Relaxed) == 0
    }

    fn full_at(&self) -> BootTime {
        BootTime::from_millis(self.full_at_millis.load(Ordering::Relaxed))
    }
}

impl Rate {
    fn is_within(&self, quota: &Quota, now: BootTime) -> bool {
        quota.full_at().since(now) <= self.interval * (self.burst - 1)
    }

    fn take(&self, quota: &Quota, now: BootTime) {
        let whole = quota.full_at().max(now) + self.interval;
        quota
            .full_at_millis
            .store(whole.as_millis(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> BootTime {
        BootTime::from_millis(1_000_000 + millis)
    }

    fn key(uid: u32, pid: i32, refused: bool) -> RateKey {
        RateKey {
            uid: Some(uid),
            pid: Some(pid),
            refused,
        }
    }

    fn said(
        limit: &mut AuditRateLimiter,
        events: impl IntoIterator<Item = (RateKey, u64)>,
    ) -> usize {
        let said = |(key, millis)| matches!(limit.check(key, at(millis)), Admission::Emit);
        events.into_iter().map(said).filter(|said| *said).count()
    }

    #[test]
    fn a_process_in_a_loop_gets_a_burst_and_then_one_a_second() {
        let mut limit = AuditRateLimiter::default();
        let looping = |from: u64, count: u64| (from..from + count).map(|it| (key(1, 7, false), it));
        assert_eq!(said(&mut limit, looping(0, 900)), 10);
        assert_eq!(said(&mut limit, looping(900, 10_000)), 10);
        let others = (0..10).map(|it| (key(1, 8, false), 10_900 + it));
        assert_eq!(said(&mut limit, others), 10, "another process of that user");
        let refusals = (0..10).map(|it| (key(1, 7, true), 10_900 + it));
        assert_eq!(said(&mut limit, refusals), 10, "its refusals");
        let counted = limit.take_counts(at(11_000));
        assert_eq!(counted, [(key(1, 7, false), 10_900 - 20)]);
        assert_eq!(limit.take_counts(at(11_000)), []);
    }

    #[test]
    fn a_process_each_time_is_a_loop_too() {
        let mut limit = AuditRateLimiter::default();
        let fresh = |uid, count: i32| (0..count).map(move |pid| (key(uid, pid, false), 0));
        assert_eq!(said(&mut limit, fresh(1, 5000)), 100);
        assert_eq!(said(&mut limit, fresh(2, 20)), 20, "another user");
        let all = RateKey {
            pid: None,
            ..key(1, 0, false)
        };
        assert_eq!(limit.take_counts(at(1)), [(all, 4900)]);
        // A second later ten more.
        let later = (0..100).map(|pid| (key(1, 9000 + pid, false), 1000));
        assert_eq!(said(&mut limit, later), 10);
    }

    #[test]
    fn what_a_connection_counts_in_is_summed_up_for_as_long_as_it_lasts() {
        let (mut limit, looping) = (AuditRateLimiter::default(), key(1, 7, false));
        assert_eq!(said(&mut limit, [(looping, 0); 10]), 10);
        let Admission::Suppress(true, Some(held)) = limit.check(looping, at(0)) else {
            panic!("its first one to be summed up");
        };
        assert_eq!(limit.take_counts(at(0)), [(looping, 1)]);
        // It has its whole burst again, and would be forgotten.
        assert_eq!(limit.take_counts(at(60_000)), []);
        assert!(!held.is_used_up(at(60_000)));
        assert_eq!(said(&mut limit, [(looping, 60_000); 10]), 10);
        assert!(held.is_used_up(at(60_000)));
        assert!(held.count() && !held.count());
        assert_eq!(limit.take_counts(at(60_000)), [(looping, 2)]);
        drop(held);
        let _ = limit.take_counts(at(120_000));
        assert!(limit.quotas.is_empty());
    }

    #[test]
    fn what_is_remembered_has_a_bound_and_is_forgotten() {
        let mut limit = AuditRateLimiter::default();
        let crowd = (0..100_000).map(|uid| (key(uid, 1, false), 0));
        let count = said(&mut limit, crowd);
        assert!(limit.quotas.len() <= MAX_KEYS + 1, "{}", limit.quotas.len());
        assert!((MAX_KEYS / 2..=MAX_KEYS).contains(&count), "{count}");
        let counted = limit.take_counts(at(0));
        let nobody = counted.iter().find(|(key, _)| key.uid.is_none());
        assert_eq!(
            nobody.map(|(_, count)| *count),
            Some(100_000 - count as u64)
        );
        let _ = limit.take_counts(at(60_000));
        assert!(limit.quotas.is_empty());
    }
}
