//! The rate limit of the audit: events beyond it are suppressed and counted. Pure arithmetic.
//!
//! Each process has a burst of 10 events and then 1 event a second. All processes of one user
//! together have a burst of 100 events and then 1 event a second, because a loop in a shell
//! starts a new process each time. All users together have a burst of 1,000 served requests and then 5
//! a second, because one person may have many users; half of that is left to users with few events.
//! Refusals have quotas of their own, 500 and then 2 a second: many served requests must not hide a
//! refusal.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Decision, summary};
use crate::runtime::{clock::BootTime, rate::Rate};

/// Maximum number of keys; further peers share one key.
const MAX_KEYS: usize = 4096;

/// Number of keys from which on unused ones are removed, once a second.
const PRUNE_ABOVE: usize = 1024;

const PROCESS_RATE: Rate = Rate {
    interval: Duration::from_secs(1),
    burst: 10,
};

const USER_RATE: Rate = Rate {
    interval: Duration::from_secs(1),
    burst: 100,
};

/// Served requests of all users.
const SERVED_RATE: Rate = Rate {
    interval: Duration::from_millis(200),
    burst: 1000,
};

/// Refusals of all users: no rule is needed to cause one.
const REFUSED_RATE: Rate = Rate {
    interval: Duration::from_millis(500),
    burst: 500,
};

/// The events of its burst that a user may take from the second half of the quota of all users.
const RESERVED_FOR_USER: u32 = USER_RATE.burst / 4;

/// The events that share one quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RateKey {
    /// The user; `None` for all users beyond [`MAX_KEYS`].
    pub(super) uid: Option<u32>,
    /// A process of that user; `None` for all of its processes.
    pub(super) pid: Option<i32>,
    /// The decision of the events.
    pub(super) decision: Decision,
}

/// The quotas of all peers.
#[derive(Default)]
pub(super) struct AuditRateLimiter {
    /// A `BTreeMap`, because a hash that resists provoked collisions costs more.
    quotas: BTreeMap<RateKey, Arc<Quota>>,
    /// The quotas of all users, by decision.
    totals: BTreeMap<Decision, Quota>,
    pruned_at: BootTime,
}

/// The outcome of a check.
#[derive(Debug)]
pub(super) enum Admission {
    /// The event is emitted.
    Emit,
    /// The event is counted for the next summary.
    Suppress {
        /// The event is the first of its key since the last summary.
        is_first: bool,
        /// The quota of the process, if the quota of the process is used up.
        used_up: Option<Arc<Quota>>,
    },
}

/// The state of the token bucket of one key. A connection keeps the used-up quota of its process,
/// so that the events of a loop need no lookup.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    /// The time at which the whole burst is available again.
    full_at_millis: AtomicU64,
    suppressed: AtomicU64,
}

impl AuditRateLimiter {
    /// Takes an event from the quotas of its process and its user, or counts the event as
    /// suppressed.
    pub(super) fn check(&mut self, key: RateKey, now: BootTime) -> Admission {
        // The process first: a process in a loop must not use up the quota of its user.
        if let Some(quota) = self.quotas.get(&key).filter(|_| key.pid.is_some())
            && quota.is_used_up(now)
        {
            return Admission::Suppress {
                is_first: quota.suppress(),
                used_up: Some(Arc::clone(quota)),
            };
        }
        if self.quotas.len() >= PRUNE_ABOVE && now.since(self.pruned_at) >= Duration::from_secs(1) {
            self.prune(now);
        }
        let user = self.key_for(RateKey { pid: None, ..key });
        let quota = self.quotas.entry(user).or_default();
        let total = self.totals.entry(key.decision).or_default();
        let of_user = |count| USER_RATE.has_tokens(count, quota.full_at(), now);
        let is_small = of_user(USER_RATE.burst - RESERVED_FOR_USER + 1);
        if !of_user(1) || !total.has_event(key.decision, is_small, now) {
            return Admission::Suppress {
                is_first: quota.suppress(),
                used_up: None,
            };
        }
        quota.take(USER_RATE, now);
        total.take(total_rate(key.decision), now);
        if key.pid.is_some() && self.key_for(key) == key {
            let process = self.quotas.entry(key).or_default();
            process.take(PROCESS_RATE, now);
        }
        Admission::Emit
    }

    /// Returns the number of suppressed events since the last call, of each key or of many keys
    /// together, and removes unused keys.
    pub(super) fn take_counts(&mut self, now: BootTime) -> Vec<(RateKey, u64)> {
        let counted = self
            .quotas
            .iter()
            .map(|(key, quota)| (*key, quota.suppressed.swap(0, Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect();
        self.prune(now);
        summary::fold(counted)
    }

    fn prune(&mut self, now: BootTime) {
        self.pruned_at = now;
        self.quotas.retain(|_, quota| {
            let counted = quota.suppressed.load(Ordering::Relaxed) > 0;
            // A connection counts in a quota that it holds, and its counts need a summary.
            counted || quota.full_at() > now || Arc::strong_count(quota) > 1
        });
    }

    /// Returns the key itself, or the shared key if the map is full.
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
    /// Returns `true` if the quota of a process has no event left at `now`.
    pub(super) fn is_used_up(&self, now: BootTime) -> bool {
        !PROCESS_RATE.has_tokens(1, self.full_at(), now)
    }

    /// Returns `true` if the quota of all users has an event left, for a user with few events or
    /// with many.
    fn has_event(&self, decision: Decision, is_small: bool, now: BootTime) -> bool {
        let rate = total_rate(decision);
        let reserved = if is_small { 0 } else { rate.burst / 2 };
        rate.has_tokens(reserved + 1, self.full_at(), now)
    }

    fn take(&self, rate: Rate, now: BootTime) {
        let full_at = rate.after_take(self.full_at(), now);
        self.full_at_millis
            .store(full_at.as_millis(), Ordering::Relaxed);
    }

    /// Counts a suppressed event; returns `true` for the first event since the last summary.
    pub(super) fn suppress(&self) -> bool {
        self.suppressed.fetch_add(1, Ordering::Relaxed) == 0
    }

    fn full_at(&self) -> BootTime {
        BootTime::from_millis(self.full_at_millis.load(Ordering::Relaxed))
    }
}

fn total_rate(decision: Decision) -> Rate {
    match decision {
        Decision::Served => SERVED_RATE,
        Decision::Refused => REFUSED_RATE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> BootTime {
        BootTime::from_millis(1_000_000 + millis)
    }

    fn served(uid: u32, pid: i32) -> RateKey {
        RateKey {
            uid: Some(uid),
            pid: Some(pid),
            decision: Decision::Served,
        }
    }

    fn refused(uid: u32, pid: i32) -> RateKey {
        RateKey {
            decision: Decision::Refused,
            ..served(uid, pid)
        }
    }

    /// Returns the number of emitted events.
    fn emitted(
        limit: &mut AuditRateLimiter,
        events: impl IntoIterator<Item = (RateKey, u64)>,
    ) -> usize {
        let is_emitted = |(key, millis)| matches!(limit.check(key, at(millis)), Admission::Emit);
        events.into_iter().map(is_emitted).filter(|it| *it).count()
    }

    #[test]
    fn process_in_a_loop_has_a_burst_and_then_one_event_a_second() {
        let mut limit = AuditRateLimiter::default();
        let looping = |from: u64, count: u64| (from..from + count).map(|it| (served(1, 7), it));
        assert_eq!(emitted(&mut limit, looping(0, 900)), 10);
        assert_eq!(emitted(&mut limit, looping(900, 10_000)), 10);
        let others = (0..10).map(|it| (served(1, 8), 10_900 + it));
        assert_eq!(
            emitted(&mut limit, others),
            10,
            "another process of that user"
        );
        let refusals = (0..10).map(|it| (refused(1, 7), 10_900 + it));
        assert_eq!(emitted(&mut limit, refusals), 10, "its refusals");
        let counted = limit.take_counts(at(11_000));
        assert_eq!(counted, [(served(1, 7), 10_900 - 20)]);
        assert_eq!(limit.take_counts(at(11_000)), []);
    }

    #[test]
    fn new_process_for_each_event_is_limited_by_its_user() {
        let mut limit = AuditRateLimiter::default();
        let fresh = |uid, count: i32| (0..count).map(move |pid| (served(uid, pid), 0));
        assert_eq!(emitted(&mut limit, fresh(1, 5000)), 100);
        assert_eq!(emitted(&mut limit, fresh(2, 20)), 20, "another user");
        let user = RateKey {
            pid: None,
            ..served(1, 0)
        };
        assert_eq!(limit.take_counts(at(1)), [(user, 4900)]);
        // A second later one more.
        let later = (0..100).map(|pid| (served(1, 9000 + pid), 1000));
        assert_eq!(emitted(&mut limit, later), 1);
    }

    #[test]
    fn all_users_share_one_rate_and_small_users_keep_a_part() {
        let mut limit = AuditRateLimiter::default();
        let fresh = |uid, millis| (0..1000).map(move |pid| (refused(uid, pid), millis));
        for uid in 0..3 {
            emitted(&mut limit, fresh(uid, 0));
        }
        let floods = (3..50).map(|uid| emitted(&mut limit, fresh(uid, 0)));
        // Half of the burst went to the first; each other one has 25 events of the rest.
        assert_eq!(floods.sum::<usize>(), 250);
        let mut limit = AuditRateLimiter::default();
        for uid in 0..6 {
            emitted(&mut limit, fresh(uid, 0));
        }
        let few = (0..5).map(|pid| (refused(99, pid), 0));
        assert_eq!(emitted(&mut limit, few), 5, "a user with few events");
        let flood = (0..600).map(|second| {
            let millis = 60_000 + 1000 * second;
            let events = (0..6).flat_map(|uid| fresh(uid, millis).take(5));
            emitted(&mut limit, events)
        });
        let count: usize = flood.sum();
        assert!(count <= 600 * 2 + 500, "{count} events in ten minutes");
    }

    #[test]
    fn quota_held_by_a_connection_is_summarized_and_not_pruned() {
        let (mut limit, looping) = (AuditRateLimiter::default(), served(1, 7));
        assert_eq!(emitted(&mut limit, [(looping, 0); 10]), 10);
        let Admission::Suppress {
            is_first: true,
            used_up: Some(held),
        } = limit.check(looping, at(0))
        else {
            panic!("the first suppressed event");
        };
        assert_eq!(limit.take_counts(at(0)), [(looping, 1)]);
        // The burst is available again; a quota that no connection holds would be removed.
        assert_eq!(limit.take_counts(at(60_000)), []);
        assert!(!held.is_used_up(at(60_000)));
        assert_eq!(emitted(&mut limit, [(looping, 60_000); 10]), 10);
        assert!(held.is_used_up(at(60_000)));
        assert!(held.suppress() && !held.suppress());
        assert_eq!(limit.take_counts(at(60_000)), [(looping, 2)]);
        drop(held);
        let _ = limit.take_counts(at(120_000));
        assert!(limit.quotas.is_empty());
    }

    #[test]
    fn keys_of_many_users_are_bounded_and_pruned() {
        let mut limit = AuditRateLimiter::default();
        let users = (0..100_000).map(|uid| (served(uid, 1), 0));
        let count = emitted(&mut limit, users);
        assert!(limit.quotas.len() <= MAX_KEYS + 1, "{}", limit.quotas.len());
        assert_eq!(count, 1000, "the burst of all users");
        let counted = limit.take_counts(at(0));
        assert!(counted.len() <= 32, "{}", counted.len());
        let suppressed: u64 = counted.iter().map(|(_, count)| count).sum();
        assert_eq!(suppressed, 100_000 - 1000);
        let _ = limit.take_counts(at(60_000));
        assert!(limit.quotas.is_empty());
    }
}
