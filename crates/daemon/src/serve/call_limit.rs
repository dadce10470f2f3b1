//! Limits the calls to STS and to identity providers that callers cause: the refreshes and leases of
//! callers that may not administer the daemon. Renewals by schedule are not counted.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use crate::runtime::{clock::BootTime, rate::Rate, sync::lock};

/// Minimum interval between two refreshes of one profile.
pub(crate) const MIN_REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// Calls that one user may cause.
const USER_RATE: Rate = Rate {
    interval: Duration::from_secs(4),
    burst: 16,
};

/// Calls that all users together may cause.
const TOTAL_RATE: Rate = Rate {
    interval: Duration::from_secs(1),
    burst: 64,
};

/// The tokens of all users that are left to users with most of their own tokens.
const RESERVED_TOKENS: u32 = TOTAL_RATE.burst / 2;

/// The tokens of its own that a user must have for those.
const UNRESERVED_TOKENS: u32 = USER_RATE.burst * 3 / 4 + 1;

/// Maximum number of users; the others share one bucket.
const MAX_USERS: usize = 1024;

/// The key of the users beyond [`MAX_USERS`]: no user has this number.
const OTHER_USERS: u32 = u32::MAX;

/// The limit of the calls that callers cause.
#[derive(Debug, Default)]
pub struct CallLimiter(Mutex<Buckets>);

/// For each bucket the time at which it is full.
#[derive(Debug, Default)]
struct Buckets {
    total: BootTime,
    by_user: BTreeMap<u32, BootTime>,
}

impl CallLimiter {
    /// Takes a token for a call that a user causes; returns `false` if the user, or all users
    /// together, have none left.
    pub(crate) fn try_take(&self, uid: u32, now: BootTime) -> bool {
        lock(&self.0).try_take(uid, now)
    }
}

impl Buckets {
    fn try_take(&mut self, uid: u32, now: BootTime) -> bool {
        self.by_user.retain(|_, full_at| *full_at > now);
        let is_known = self.by_user.contains_key(&uid);
        let uid = if is_known || self.by_user.len() < MAX_USERS {
            uid
        } else {
            OTHER_USERS
        };
        let user_full_at = self.by_user.get(&uid).copied().unwrap_or_default();
        let is_small = USER_RATE.has_tokens(UNRESERVED_TOKENS, user_full_at, now);
        // A user that has taken many tokens must not take the last ones of the other users.
        let reserved = if is_small { 0 } else { RESERVED_TOKENS };
        if !USER_RATE.has_tokens(1, user_full_at, now)
            || !TOTAL_RATE.has_tokens(reserved + 1, self.total, now)
        {
            return false;
        }
        let full_at = USER_RATE.after_take(user_full_at, now);
        self.by_user.insert(uid, full_at);
        self.total = TOTAL_RATE.after_take(self.total, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(buckets: &mut Buckets, uid: u32, seconds: u64) -> usize {
        let now = BootTime::from_millis(1_000_000 + 1000 * seconds);
        (0..100).take_while(|_| buckets.try_take(uid, now)).count()
    }

    #[test]
    fn user_has_a_burst_and_then_a_call_in_four_seconds() {
        let mut buckets = Buckets::default();
        assert_eq!(taken(&mut buckets, 1, 0), 16);
        assert_eq!(taken(&mut buckets, 1, 8), 2);
        assert_eq!(taken(&mut buckets, 2, 8), 16, "another user");
        assert_eq!(taken(&mut buckets, 1, 3600), 16);
        assert_eq!(buckets.by_user.len(), 1, "full buckets are forgotten");
    }

    #[test]
    fn many_users_share_one_rate_and_leave_the_first_calls_to_others() {
        let mut buckets = Buckets::default();
        assert_eq!(taken(&mut buckets, 1, 0) + taken(&mut buckets, 2, 0), 32);
        assert_eq!(taken(&mut buckets, 3, 0), 4, "the rest is reserved");
        let all: usize = (10..2000).map(|uid| taken(&mut buckets, uid, 0)).sum();
        assert_eq!(all, 64 - 36);
        assert!(buckets.by_user.len() <= MAX_USERS + 1);
        let all: usize = (10..100).map(|uid| taken(&mut buckets, uid, 10)).sum();
        assert_eq!(all, 10, "one a second");
    }
}
