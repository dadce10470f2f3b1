//! The table of all connections: their counts by quota, and the choice of those that are evicted.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use slab::Slab;

use super::{
    buffers::Buffers,
    quota::{ConnectionKeys, QuotaKey},
    tracked::{Activity, CloseReason, Tracked},
};
use crate::profile::Rule;

/// Divisor of the idle connections for the batch that one eviction closes: with a batch the scan
/// is not repeated for each new connection.
const EVICTION_DIVISOR: usize = 16;

/// Minimum peak of connections whose end is a reason to return memory to the system.
const MIN_PEAK_CONNECTIONS: usize = 256;

/// The connections that count towards the limit.
#[derive(Default)]
pub(super) struct Table {
    pub(super) is_stopping: bool,
    tracked: Slab<Arc<Tracked>>,
    /// The number of connections for each key that has any.
    counts: BTreeMap<QuotaKey, usize>,
    /// The connections that wait or watch because of a rule, by index.
    holds: BTreeMap<usize, Hold>,
    holds_by_rule: BTreeMap<Rule, usize>,
    watches_by_user: BTreeMap<u32, usize>,
    buffers: Buffers,
    /// The largest number of connections since [`take_ended_peak`](Self::take_ended_peak).
    peak: usize,
}

/// The reason for which a connection may wait or watch.
struct Hold {
    rule: Option<Rule>,
    watches: bool,
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
    /// idle ones come first, a sixteenth of them; else one that watches or waits, of a user with more
    /// connections. Returns `false` if there is none.
    pub(super) fn displace(&mut self, newcomer: &ConnectionKeys, key: Option<QuotaKey>) -> bool {
        let own = self.user_count(newcomer.user, key);
        let in_scope = |it: &Tracked| key.is_none_or(|key| it.keys.has(key));
        let mut candidates = self.candidates(key, in_scope, |activity, user_count| {
            match activity {
                // No user evicts the idle connections of a smaller user.
                Activity::Idle => user_count >= own,
                Activity::Watching | Activity::Waiting => user_count > own,
                Activity::Leasing => false,
            }
        });
        let idle = candidates
            .iter()
            .filter(|it| it.activity == Activity::Idle)
            .count();
        candidates.truncate((idle / EVICTION_DIVISOR).max(1));
        self.evict(&candidates)
    }

    /// Evicts the oldest connection that holds a rule, of a user with more connections than `user`.
    fn displace_holder(&mut self, rule: &Rule, user: u32) -> bool {
        let own = self.user_count(user, None);
        let holds = &self.holds;
        let in_scope = |it: &Tracked| {
            let hold = holds.get(&it.index());
            hold.is_some_and(|hold| hold.rule.as_ref() == Some(rule))
        };
        let mut candidates = self.candidates(None, in_scope, |_, user_count| user_count > own);
        candidates.truncate(1);
        self.evict(&candidates)
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

    fn evict(&mut self, candidates: &[Candidate]) -> bool {
        for candidate in candidates {
            let reason = match candidate.activity {
                Activity::Idle => CloseReason::Evicted,
                _ => CloseReason::Displaced,
            };
            if let Some(tracked) = self.remove(candidate.index) {
                tracked.request_close(reason);
            }
        }
        !candidates.is_empty()
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
    ) -> HoldOutcome {
        let user = tracked.keys.user;
        let watches = self.watches_by_user.get(&user).copied().unwrap_or_default();
        if max_watches.is_some_and(|max| watches >= max) || !self.is_tracked(tracked) {
            return HoldOutcome::Refused;
        }
        self.release(tracked);
        let mut outcome = HoldOutcome::Held;
        if let Some(rule) = rule {
            let held = self.holds_by_rule.get(rule).copied().unwrap_or_default();
            if held >= max_for_rule {
                if !self.displace_holder(rule, user) {
                    return HoldOutcome::Refused;
                }
                outcome = HoldOutcome::Displaced;
            }
            *self.holds_by_rule.entry(rule.clone()).or_default() += 1;
        }
        let watches = max_watches.is_some();
        if watches {
            *self.watches_by_user.entry(user).or_default() += 1;
        }
        let rule = rule.cloned();
        self.holds.insert(tracked.index(), Hold { rule, watches });
        tracked.set_hold(true);
        outcome
    }

    /// Records that a connection does not wait or watch any more.
    pub(super) fn release(&mut self, tracked: &Arc<Tracked>) {
        if tracked.holds() && self.is_tracked(tracked) {
            self.remove_hold(tracked);
            tracked.set_hold(false);
        }
    }

    fn remove_hold(&mut self, tracked: &Tracked) {
        let Some(hold) = self.holds.remove(&tracked.index()) else {
            return;
        };
        if let Some(rule) = hold.rule {
            decrement(&mut self.holds_by_rule, &rule);
        }
        if hold.watches {
            decrement(&mut self.watches_by_user, &tracked.keys.user);
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
            tracked.request_close(CloseReason::BuffersFull);
            match excess.checked_sub(tracked.buffered() as usize) {
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
            && self.holds_by_rule.is_empty()
            && self.watches_by_user.is_empty()
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
        self.remove_hold(&tracked);
        if tracked.buffered() > 0 {
            self.buffers
                .change(tracked.keys.user, tracked.buffered(), 0);
        }
        Some(tracked)
    }
}

/// Decrements a count, and removes a count of zero.
fn decrement<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
