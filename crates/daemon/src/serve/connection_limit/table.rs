//! The table of all connections: their counts by quota, and the choice of those that are evicted.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use slab::Slab;

use super::{
    buffers::Buffers,
    holds::{Hold, Holds},
    quota::{ConnectionKeys, QuotaKey},
    tracked::{Activity, CloseReason, Tracked},
};
use crate::profile::Rule;

/// Divisor of the idle connections for the batch that one eviction closes: with a batch the scan
/// is not repeated for each new connection.
const EVICTION_DIVISOR: usize = 16;

/// Divisor of all connections for the batch of watches and waiting requests that one new connection
/// displaces, and for the number of attempts that one scan without a candidate refuses: a user that
/// repeats an attempt must not cost a scan of all connections each time.
const SCAN_DIVISOR: usize = 64;

/// Divisor of a user's connections for the surplus that makes another user larger: users of nearly the
/// same size do not displace each other in turn.
const SURPLUS_DIVISOR: usize = 8;

/// Minimum peak of connections whose end is a reason to return memory to the system.
const MIN_PEAK_CONNECTIONS: usize = 256;

/// The connections that count towards the limit.
#[derive(Default)]
pub(super) struct Table {
    pub(super) is_stopping: bool,
    tracked: Slab<Arc<Tracked>>,
    /// The number of connections for each key that has any.
    counts: BTreeMap<QuotaKey, usize>,
    holds: Holds,
    buffers: Buffers,
    /// The largest number of connections since [`take_ended_peak`](Self::take_ended_peak).
    peak: usize,
    /// The connections that were evicted and are not closed yet.
    evicted: Vec<Arc<Tracked>>,
    /// For each user the number of attempts that are refused without a scan, after a scan without a
    /// candidate.
    refused_scans: BTreeMap<u32, usize>,
}

/// The outcome of [`Table::hold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldOutcome {
    /// The connection may wait or watch.
    Held,
    /// The connection may wait or watch, and another one was evicted.
    Displaced,
    /// Too many connections wait or watch.
    Refused,
}

/// A connection that may be evicted. The least one is evicted first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    activity: Activity,
    /// The number of connections of its user.
    user_count: Reverse<usize>,
    since: u64,
    index: usize,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.tracked.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Tracked>> {
        self.tracked.iter().map(|(_, tracked)| tracked)
    }

    pub(super) fn count(&self, key: QuotaKey) -> usize {
        self.counts.get(&key).copied().unwrap_or_default()
    }

    pub(super) fn track(&mut self, keys: ConnectionKeys, now: u64) -> Arc<Tracked> {
        for key in keys.all() {
            *self.counts.entry(key).or_default() += 1;
        }
        let entry = self.tracked.vacant_entry();
        let tracked = Arc::new(Tracked::new(entry.key(), keys, now));
        if self.is_stopping {
            tracked.request_close(CloseReason::Shutdown);
        }
        entry.insert(Arc::clone(&tracked));
        self.peak = self.peak.max(self.tracked.len());
        tracked
    }

    /// Removes a connection that has closed. The index of an evicted one may belong to another.
    pub(super) fn untrack(&mut self, tracked: &Arc<Tracked>) {
        if self.is_tracked(tracked) {
            self.remove(tracked.index());
        }
    }

    /// Evicts connections that count towards `key`, or any, for a new connection of a user. The
    /// idle ones come first, a sixteenth of them; else some that watch or wait, of a user with more
    /// connections. Returns `false` if there is none.
    pub(super) fn displace(&mut self, newcomer: &ConnectionKeys, key: Option<QuotaKey>) -> bool {
        if self.takes_refusal(newcomer.user) {
            return false;
        }
        let own = self.user_count(newcomer.user, key);
        let in_scope = |it: &Tracked| key.is_none_or(|key| it.keys.has(key));
        let mut candidates = self.candidates(key, in_scope, |activity, user_count| {
            match activity {
                // No user evicts the idle connections of a smaller user.
                Activity::Idle => user_count >= own,
                Activity::Watching | Activity::Waiting => user_count > own + own / SURPLUS_DIVISOR,
                Activity::Leasing => false,
            }
        });
        let is_idle = |it: &&Candidate| it.activity == Activity::Idle;
        let batch = match (
            candidates.iter().filter(is_idle).count(),
            candidates.first(),
        ) {
            (_, None) => {
                if own > 0 {
                    let refusals = self.len() / SCAN_DIVISOR;
                    self.refused_scans.insert(newcomer.user, refusals);
                }
                return false;
            }
            (0, Some(first)) => {
                let surplus = first.user_count.0 - own;
                (surplus / 4).min(self.len() / SCAN_DIVISOR)
            }
            (idle, _) => idle / EVICTION_DIVISOR,
        };
        candidates.truncate(batch.max(1));
        for candidate in candidates {
            let reason = match candidate.activity {
                Activity::Idle => CloseReason::Evicted,
                _ => CloseReason::Displaced,
            };
            self.evict(candidate.index, reason);
        }
        true
    }

    /// Takes one of the refusals without a scan; returns `false` if the user has none left.
    fn takes_refusal(&mut self, user: u32) -> bool {
        let left = self.refused_scans.get_mut(&user);
        let takes = left.is_some_and(|left| left.checked_sub(1).map(|it| *left = it).is_some());
        if !takes {
            self.refused_scans.remove(&user);
        }
        takes
    }

    /// Returns the connections in scope that may be evicted, in the order of eviction.
    fn candidates(
        &self,
        key: Option<QuotaKey>,
        in_scope: impl Fn(&Tracked) -> bool,
        may_evict: impl Fn(Activity, usize) -> bool,
    ) -> Vec<Candidate> {
        // Neighbours are often of one user.
        let mut known = None;
        let mut candidates: Vec<_> = self
            .iter()
            .filter(|it| in_scope(it))
            .filter_map(|it| {
                let user = it.keys.user;
                let user_count = match known {
                    Some((known, count)) if known == user => count,
                    _ => self.user_count(user, key),
                };
                known = Some((user, user_count));
                let activity = it.activity();
                may_evict(activity, user_count).then(|| Candidate {
                    activity,
                    user_count: Reverse(user_count),
                    since: it.since(),
                    index: it.index(),
                })
            })
            .collect();
        candidates.sort_unstable();
        candidates
    }

    fn evict(&mut self, index: usize, reason: CloseReason) {
        if let Some(tracked) = self.remove(index) {
            self.close(tracked, reason);
        }
    }

    /// Requests that a connection closes.
    fn close(&mut self, tracked: Arc<Tracked>, reason: CloseReason) {
        tracked.request_close(reason);
        self.evicted.push(tracked);
    }

    /// Requests that the connections that match close.
    pub(super) fn close_where(&mut self, matches: impl Fn(&Tracked) -> bool, reason: CloseReason) {
        let all: Vec<_> = self.iter().filter(|it| matches(it)).cloned().collect();
        for tracked in all {
            self.close(tracked, reason);
        }
    }

    /// Returns the slots of the connections that were evicted since the last call. A connection that
    /// has no slot, or has left its slot, is notified.
    pub(super) fn take_evicted(&mut self) -> Vec<usize> {
        let evicted = std::mem::take(&mut self.evicted);
        evicted.iter().filter_map(|it| it.slot()).collect()
    }

    /// Returns the number of a user's connections that compete for a quota.
    fn user_count(&self, user: u32, key: Option<QuotaKey>) -> usize {
        match key {
            Some(QuotaKey::Http) => self.count(QuotaKey::HttpOfUser(user)),
            _ => self.count(QuotaKey::User(user)),
        }
    }

    /// Records that a connection waits or watches because of a rule, within the maximum of the rule
    /// and of the user's watches.
    pub(super) fn hold(
        &mut self,
        tracked: &Arc<Tracked>,
        rule: Option<&Rule>,
        max_for_rule: usize,
        max_watches: Option<usize>,
        now: u64,
    ) -> HoldOutcome {
        let user = tracked.keys.user;
        let has_too_many = max_watches.is_some_and(|max| self.holds.watches(user) >= max);
        if has_too_many || !self.is_tracked(tracked) {
            return HoldOutcome::Refused;
        }
        self.release(tracked);
        let is_full = |rule: &&Rule| self.holds.count(rule) >= max_for_rule;
        let outcome = match rule.filter(is_full) {
            None => HoldOutcome::Held,
            Some(rule) => match self.holds.displaceable(rule, user) {
                None => return HoldOutcome::Refused,
                Some(oldest) => {
                    self.evict(oldest, CloseReason::Displaced);
                    HoldOutcome::Displaced
                }
            },
        };
        let hold = Hold {
            rule: rule.cloned(),
            user,
            is_watch: max_watches.is_some(),
            since: now,
        };
        self.holds.insert(tracked.index(), hold);
        tracked.set_hold(true);
        outcome
    }

    /// Records that a connection does not wait or watch any more.
    pub(super) fn release(&mut self, tracked: &Arc<Tracked>) {
        if tracked.holds() && self.is_tracked(tracked) {
            self.holds.remove(tracked.index());
            tracked.set_hold(false);
        }
    }

    /// Sets the bytes in a connection's buffers. Returns `true` if connections were evicted, because
    /// a limit is exceeded: the oldest of the largest user.
    pub(super) fn set_buffered(&mut self, tracked: &Arc<Tracked>, bytes: u32) -> bool {
        if !self.is_tracked(tracked) {
            return false;
        }
        let user = tracked.keys.user;
        self.buffers.change(user, tracked.buffered(), bytes);
        tracked.set_buffered(bytes);
        match self.buffers.excess(user) {
            Some((largest, excess)) => self.free_buffers(largest, excess),
            None => false,
        }
    }

    fn free_buffers(&mut self, user: u32, mut excess: usize) -> bool {
        let mut oldest: Vec<_> = self
            .iter()
            .filter(|it| it.keys.user == user && it.buffered() > 0)
            .map(|it| (it.since(), it.index()))
            .collect();
        oldest.sort_unstable();
        for (_, index) in &oldest {
            let Some(tracked) = self.remove(*index) else {
                continue;
            };
            let bytes = tracked.buffered() as usize;
            self.close(tracked, CloseReason::BuffersFull);
            match excess.checked_sub(bytes) {
                Some(left) if left > 0 => excess = left,
                _ => break,
            }
        }
        !oldest.is_empty()
    }

    /// Returns `true` if most connections of a peak have ended since the last call.
    pub(super) fn take_ended_peak(&mut self) -> bool {
        let has_ended = self.peak >= MIN_PEAK_CONNECTIONS && self.tracked.len() < self.peak / 2;
        if has_ended {
            self.peak = self.tracked.len();
        }
        has_ended
    }

    /// Returns the memory of ended connections.
    pub(super) fn shrink(&mut self) {
        self.tracked.shrink_to_fit();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.tracked.is_empty()
            && self.counts.is_empty()
            && self.holds.is_empty()
            && self.refused_scans.is_empty()
            && self.buffers.total() == 0
    }

    fn is_tracked(&self, tracked: &Arc<Tracked>) -> bool {
        let current = self.tracked.get(tracked.index());
        current.is_some_and(|it| Arc::ptr_eq(it, tracked))
    }

    fn remove(&mut self, index: usize) -> Option<Arc<Tracked>> {
        let tracked = self.tracked.try_remove(index)?;
        for key in tracked.keys.all() {
            decrement(&mut self.counts, &key);
        }
        self.holds.remove(index);
        let user = tracked.keys.user;
        if self.count(QuotaKey::User(user)) == 0 {
            self.refused_scans.remove(&user);
        }
        if tracked.buffered() > 0 {
            self.buffers.change(user, tracked.buffered(), 0);
        }
        Some(tracked)
    }
}

/// Decrements a count, and removes a count of zero.
pub(super) fn decrement<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
