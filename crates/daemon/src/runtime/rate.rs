//! A token bucket as one moment: the time at which its whole burst is available again.

use std::time::Duration;

use crate::runtime::clock::BootTime;

/// A rate: one token each interval, after a burst.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// The time in which a bucket gains a token.
    pub(crate) interval: Duration,
    /// The capacity of a bucket.
    pub(crate) burst: u32,
}

impl Rate {
    /// Returns `true` if a bucket that is full at `full_at` has at least `count` tokens. Without a
    /// division, because each request of a loop comes here.
    pub(crate) fn has_tokens(&self, count: u32, full_at: BootTime, now: BootTime) -> bool {
        full_at.since(now) <= self.interval * self.burst.saturating_sub(count)
    }

    /// Returns the time at which the bucket is full after a token was taken.
    pub(crate) fn after_take(&self, full_at: BootTime, now: BootTime) -> BootTime {
        full_at.max(now) + self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_has_a_burst_and_then_a_token_each_interval() {
        let rate = Rate {
            interval: Duration::from_secs(2),
            burst: 3,
        };
        let at = |seconds: u64| BootTime::from_millis(1_000_000 + 1000 * seconds);
        let mut full_at = BootTime::default();
        for left in [3, 2, 1] {
            assert!(rate.has_tokens(left, full_at, at(0)));
            assert!(!rate.has_tokens(left + 1, full_at, at(0)) || left == 3);
            full_at = rate.after_take(full_at, at(0));
        }
        assert!(!rate.has_tokens(1, full_at, at(0)));
        assert!(!rate.has_tokens(1, full_at, at(1)));
        assert!(rate.has_tokens(1, full_at, at(2)) && !rate.has_tokens(2, full_at, at(2)));
        assert!(rate.has_tokens(3, full_at, at(100)));
    }
}
