//! The connections that wait or watch because of a rule, ordered so that neither a refusal nor the
//! choice of the one to displace scans all connections.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::table::decrement;
use crate::profile::Rule;

/// The connections that wait or watch, by the index of the connection.
#[derive(Default)]
pub(super) struct Holds {
    by_index: BTreeMap<usize, Hold>,
    by_rule: BTreeMap<Rule, RuleHolds>,
    watches_by_user: BTreeMap<u32, usize>,
}

/// The reason for which a connection may wait or watch.
#[derive(Clone)]
pub(super) struct Hold {
    /// The rule; `None` for a user that needs none.
    pub(super) rule: Option<Rule>,
    pub(super) user: u32,
    pub(super) is_watch: bool,
    /// The tick at which the connection began to wait or to watch.
    pub(super) since: u64,
}

/// The connections that hold one rule.
#[derive(Default)]
struct RuleHolds {
    count: usize,
    /// For each user the connections by their beginning.
    by_user: BTreeMap<u32, BTreeSet<(u64, usize)>>,
}

impl Holds {
    /// Returns the number of a user's watches.
    pub(super) fn watches(&self, user: u32) -> usize {
        self.watches_by_user.get(&user).copied().unwrap_or_default()
    }

    /// Returns the number of connections that hold a rule.
    pub(super) fn count(&self, rule: &Rule) -> usize {
        self.by_rule.get(rule).map_or(0, |holds| holds.count)
    }

    /// Returns the connection that has held a rule longest, of the user that holds the rule most, if
    /// that user holds the rule more often than `user`. Of equal users, the one with the older connection.
    pub(super) fn displaceable(&self, rule: &Rule, user: u32) -> Option<usize> {
        let users = &self.by_rule.get(rule)?.by_user;
        let own = users.get(&user).map_or(0, BTreeSet::len);
        let size = |held: &BTreeSet<_>| (held.len(), Reverse(held.first().copied()));
        let largest = users.values().max_by_key(|held| size(held))?;
        let oldest = largest.first().filter(|_| largest.len() > own)?;
        Some(oldest.1)
    }

    pub(super) fn insert(&mut self, index: usize, hold: Hold) {
        if let Some(rule) = &hold.rule {
            let holds = self.by_rule.entry(rule.clone()).or_default();
            holds.count += 1;
            let of_user = holds.by_user.entry(hold.user).or_default();
            of_user.insert((hold.since, index));
        }
        if hold.is_watch {
            *self.watches_by_user.entry(hold.user).or_default() += 1;
        }
        self.by_index.insert(index, hold);
    }

    pub(super) fn remove(&mut self, index: usize) {
        let Some(hold) = self.by_index.remove(&index) else {
            return;
        };
        if hold.is_watch {
            decrement(&mut self.watches_by_user, &hold.user);
        }
        let Some(rule) = hold.rule else {
            return;
        };
        let Some(holds) = self.by_rule.get_mut(&rule) else {
            return;
        };
        holds.count -= 1;
        if let Some(of_user) = holds.by_user.get_mut(&hold.user) {
            of_user.remove(&(hold.since, index));
            if of_user.is_empty() {
                holds.by_user.remove(&hold.user);
            }
        }
        if holds.count == 0 {
            self.by_rule.remove(&rule);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_index.is_empty() && self.by_rule.is_empty() && self.watches_by_user.is_empty()
    }
}
