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
const MOST: usize = 4096;

/// From so many on, those who have been quiet are forgotten, once a second.
const MANY: usize = 1024;

const PROCESS: Rate = Rate {
    interval: Duration::from_secs(1),
    burst: 10,
};

const USER: Rate = Rate {
    interval: Duration::from_millis(100),
    burst: 100,
};

/// Whose events are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Who {
    /// A user; none stands for all that there is no room for.
    pub(super) uid: Option<u32>,
    /// A process of that user; none for all of them.
    pub(super) pid: Option<i32>,
    /// Refusals, or hand-outs.
    pub(super) refused: bool,
}

/// Remembers how much each peer has had said.
#[derive(Default)]
pub(super) struct Limit {
    /// By comparison: a hash that nobody can provoke collisions of costs more.
    shares: BTreeMap<Who, Arc<Share>>,
    swept: BootTime,
}

struct Rate {
    interval: Duration,
    burst: u32,
}

/// What becomes of an event.
#[derive(Debug)]
pub(super) enum Admission {
    /// It is said.
    Said,
    /// It is counted, as the first one to be summed up or not. If its process has had all of its
    /// share, this is it.
    Counted(bool, Option<Arc<Share>>),
}

/// What a user or a process has had said. A connection whose process has had all of it keeps
/// this, so that nothing has to be looked up for whoever asks in a loop.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// When it has its whole burst again.
    whole_millis: AtomicU64,
    kept_back: AtomicU64,
}

impl Limit {
    /// Decides what becomes of an event.
    pub(super) fn admit(&mut self, who: Who, now: BootTime) -> Admission {
        // The process first: one that loops uses up its own share, and not its user's.
        if let Some(share) = self.shares.get(&who).filter(|_| who.pid.is_some())
            && share.is_used_up(now)
        {
            return Admission::Counted(share.count(), Some(Arc::clone(share)));
        }
        if self.shares.len() >= MANY && now.since(self.swept) >= Duration::from_secs(1) {
            self.forget(now);
        }
        let user = self.place(Who { pid: None, ..who });
        let share = self.shares.entry(user).or_default();
        if !USER.has_one(share, now) {
            return Admission::Counted(share.count(), None);
        }
        USER.take(share, now);
        if who.pid.is_some() && self.place(who) == who {
            PROCESS.take(self.shares.entry(who).or_default(), now);
        }
        Admission::Said
    }

    /// Returns what was counted since the last time, and forgets who has been quiet.
    pub(super) fn sum_up(&mut self, now: BootTime) -> Vec<(Who, u64)> {
        let counted = self
            .shares
            .iter()
            .map(|(who, share)| (*who, share.kept_back.swap(0, Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect();
        self.forget(now);
        counted
    }

    fn forget(&mut self, now: BootTime) {
        self.swept = now;
        self.shares.retain(|_, share| {
            let counted = share.kept_back.load(Ordering::Relaxed) > 0;
            // What a connection counts in must be summed up.
            counted || share.whole() > now || Arc::strong_count(share) > 1
        });
    }

    /// Where somebody is counted.
    fn place(&self, who: Who) -> Who {
        if self.shares.len() < MOST || self.shares.contains_key(&who) {
            return who;
        }
        Who {
            uid: None,
            pid: None,
            ..who
        }
    }
}

impl Share {
    /// Tells whether a process that has had this much has had all of it for now.
    pub(super) fn is_used_up(&self, now: BootTime) -> bool {
        !PROCESS.has_one(self, now)
    }

    /// Counts an event that is not said; tells whether it is the first one to be summed up.
    pub(super) fn count(&self) -> bool {
        self.kept_back.fetch_add(1, Ordering::Relaxed) == 0
    }

    fn whole(&self) -> BootTime {
        BootTime::from_millis(self.whole_millis.load(Ordering::Relaxed))
    }
}

impl Rate {
    fn has_one(&self, share: &Share, now: BootTime) -> bool {
        share.whole().since(now) <= self.interval * (self.burst - 1)
    }

    fn take(&self, share: &Share, now: BootTime) {
        let whole = share.whole().max(now) + self.interval;
        share
            .whole_millis
            .store(whole.as_millis(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> BootTime {
        BootTime::from_millis(1_000_000 + millis)
    }

    fn who(uid: u32, pid: i32, refused: bool) -> Who {
        Who {
            uid: Some(uid),
            pid: Some(pid),
            refused,
        }
    }

    fn said(limit: &mut Limit, events: impl IntoIterator<Item = (Who, u64)>) -> usize {
        let said = |(who, millis)| matches!(limit.admit(who, at(millis)), Admission::Said);
        events.into_iter().map(said).filter(|said| *said).count()
    }

    #[test]
    fn a_process_in_a_loop_gets_a_burst_and_then_one_a_second() {
        let mut limit = Limit::default();
        let looping = |from: u64, count: u64| (from..from + count).map(|it| (who(1, 7, false), it));
        assert_eq!(said(&mut limit, looping(0, 900)), 10);
        assert_eq!(said(&mut limit, looping(900, 10_000)), 10);
        let others = (0..10).map(|it| (who(1, 8, false), 10_900 + it));
        assert_eq!(said(&mut limit, others), 10, "another process of that user");
        let refusals = (0..10).map(|it| (who(1, 7, true), 10_900 + it));
        assert_eq!(said(&mut limit, refusals), 10, "its refusals");
        let counted = limit.sum_up(at(11_000));
        assert_eq!(counted, [(who(1, 7, false), 10_900 - 20)]);
        assert_eq!(limit.sum_up(at(11_000)), []);
    }

    #[test]
    fn a_process_each_time_is_a_loop_too() {
        let mut limit = Limit::default();
        let fresh = |uid, count: i32| (0..count).map(move |pid| (who(uid, pid, false), 0));
        assert_eq!(said(&mut limit, fresh(1, 5000)), 100);
        assert_eq!(said(&mut limit, fresh(2, 20)), 20, "another user");
        let all = Who {
            pid: None,
            ..who(1, 0, false)
        };
        assert_eq!(limit.sum_up(at(1)), [(all, 4900)]);
        // A second later ten more.
        let later = (0..100).map(|pid| (who(1, 9000 + pid, false), 1000));
        assert_eq!(said(&mut limit, later), 10);
    }

    #[test]
    fn what_a_connection_counts_in_is_summed_up_for_as_long_as_it_lasts() {
        let (mut limit, looping) = (Limit::default(), who(1, 7, false));
        assert_eq!(said(&mut limit, [(looping, 0); 10]), 10);
        let Admission::Counted(true, Some(held)) = limit.admit(looping, at(0)) else {
            panic!("its first one to be summed up");
        };
        assert_eq!(limit.sum_up(at(0)), [(looping, 1)]);
        // It has its whole burst again, and would be forgotten.
        assert_eq!(limit.sum_up(at(60_000)), []);
        assert!(!held.is_used_up(at(60_000)));
        assert_eq!(said(&mut limit, [(looping, 60_000); 10]), 10);
        assert!(held.is_used_up(at(60_000)));
        assert!(held.count() && !held.count());
        assert_eq!(limit.sum_up(at(60_000)), [(looping, 2)]);
        drop(held);
        let _ = limit.sum_up(at(120_000));
        assert!(limit.shares.is_empty());
    }

    #[test]
    fn what_is_remembered_has_a_bound_and_is_forgotten() {
        let mut limit = Limit::default();
        let crowd = (0..100_000).map(|uid| (who(uid, 1, false), 0));
        let count = said(&mut limit, crowd);
        assert!(limit.shares.len() <= MOST + 1, "{}", limit.shares.len());
        assert!((MOST / 2..=MOST).contains(&count), "{count}");
        let counted = limit.sum_up(at(0));
        let nobody = counted.iter().find(|(who, _)| who.uid.is_none());
        assert_eq!(
            nobody.map(|(_, count)| *count),
            Some(100_000 - count as u64)
        );
        let _ = limit.sum_up(at(60_000));
        assert!(limit.shares.is_empty());
    }
}
