//! The summary of suppressed events. Its length is bounded as well: a user with many processes, or a
//! person with many users, must not cause a line for each of them.

use std::{cmp::Reverse, collections::BTreeMap};

use super::rate_limit::RateKey;

/// Maximum number of processes of one user that have lines of their own.
const MAX_PROCESSES_PER_USER: usize = 4;

/// Maximum number of lines; the last one may stand for all other keys of a decision.
const MAX_LINES: usize = 32;

/// Returns the counts with those of one user, and then those of all users, added up beyond the
/// maximum.
pub(super) fn fold(counts: Vec<(RateKey, u64)>) -> Vec<(RateKey, u64)> {
    let mut users: BTreeMap<RateKey, Vec<(RateKey, u64)>> = BTreeMap::new();
    for (key, count) in counts {
        let user = RateKey { pid: None, ..key };
        users.entry(user).or_default().push((key, count));
    }
    let mut lines = Vec::new();
    for (user, mut processes) in users {
        keep_largest(&mut processes, MAX_PROCESSES_PER_USER, |_| user);
        lines.append(&mut processes);
    }
    // Two lines stand for the others: one for each decision.
    keep_largest(&mut lines, MAX_LINES - 2, |key| RateKey {
        uid: None,
        pid: None,
        ..key
    });
    lines.sort_unstable_by_key(|(key, _)| *key);
    lines
}

/// Keeps the `max` largest counts, and adds the others up by `sum_key`.
fn keep_largest(
    counts: &mut Vec<(RateKey, u64)>,
    max: usize,
    sum_key: impl Fn(RateKey) -> RateKey,
) {
    if counts.len() <= max {
        return;
    }
    counts.sort_unstable_by_key(|(_, count)| Reverse(*count));
    let mut sums: BTreeMap<RateKey, u64> = BTreeMap::new();
    for (key, count) in counts.drain(max..) {
        *sums.entry(sum_key(key)).or_default() += count;
    }
    for (key, sum) in sums {
        match counts.iter_mut().find(|(known, _)| *known == key) {
            Some((_, count)) => *count += sum,
            None => counts.push((key, sum)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Decision;

    fn key(uid: u32, pid: Option<i32>) -> RateKey {
        RateKey {
            uid: Some(uid),
            pid,
            decision: Decision::Refused,
        }
    }

    #[test]
    fn processes_beyond_the_maximum_are_counted_for_their_user() {
        let processes = (1..=100).map(|pid| (key(1, Some(pid)), 10 + pid as u64));
        let counts: Vec<_> = processes
            .chain([(key(1, None), 5), (key(2, Some(7)), 3)])
            .collect();
        let sum: u64 = counts.iter().map(|(_, count)| count).sum();
        let lines = fold(counts);
        assert_eq!(lines.len(), 4 + 1 + 1, "{lines:?}");
        assert!(lines.contains(&(key(1, Some(100)), 110)));
        assert!(lines.contains(&(key(2, Some(7)), 3)));
        assert_eq!(lines.iter().map(|(_, count)| count).sum::<u64>(), sum);
    }

    #[test]
    fn summary_of_many_users_has_32_lines() {
        let counts: Vec<_> = (0..4000).map(|uid| (key(uid, None), 1)).collect();
        let lines = fold(counts);
        assert_eq!(lines.len(), 31, "30 users and the others");
        assert_eq!(lines.iter().map(|(_, count)| count).sum::<u64>(), 4000);
    }
}
