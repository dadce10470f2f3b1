//! The rate limit of the calls to STS. The service's quota is 100 calls a second for each account,
//! region and API, shared by all users and machines of the account (docs/configuration.md has the
//! source); a thousand profiles that are due at once must stay far below that. A call for which a
//! caller waits must not queue behind background refreshes.

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::runtime::{
    clock::{BootTime, Clock},
    sync::lock,
};

/// The priority of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// A caller waits for the result.
    Interactive,
    /// No caller waits: half of the bucket is reserved for interactive calls.
    Background,
}

/// A token bucket that all profiles share.
pub struct RateLimiter {
    bucket: Mutex<Bucket>,
    /// The head of the queue of interactive calls; a semaphore is fair.
    interactive: Semaphore,
    /// The head of the queue of background calls.
    background: Semaphore,
    deferred_calls: AtomicU64,
    deferred_millis: AtomicU64,
}

/// The arithmetic of the bucket.
#[derive(Debug)]
struct Bucket {
    per_second: u32,
    tokens: f64,
    filled_at: BootTime,
    paused_until: BootTime,
}

impl RateLimiter {
    /// Returns a full bucket that gains `per_second` tokens a second and holds as many, at least
    /// two.
    #[must_use]
    pub fn new(per_second: u32, now: BootTime) -> Self {
        Self {
            bucket: Mutex::new(Bucket {
                per_second,
                tokens: burst(per_second),
                filled_at: now,
                paused_until: now,
            }),
            interactive: Semaphore::new(1),
            background: Semaphore::new(1),
            deferred_calls: AtomicU64::new(0),
            deferred_millis: AtomicU64::new(0),
        }
    }

    /// Takes a token if one is available and no call is queued; returns `true` on success.
    pub fn try_take(&self, priority: Priority, now: BootTime) -> bool {
        let Ok(_permit) = self.queue(priority).try_acquire() else {
            return false;
        };
        self.bucket().take(priority, now).is_ok()
    }

    /// Waits for a token; calls of one priority receive theirs in order.
    pub async fn take(&self, priority: Priority, clock: &dyn Clock) {
        let _permit = self.queue(priority).acquire().await;
        loop {
            let taken = self.bucket().take(priority, clock.boot());
            match taken {
                Ok(()) => return,
                Err(wait) => clock.sleep_at_most(wait).await,
            }
        }
    }

    /// Counts a delayed call; returns the end of the pause that the service has requested, or
    /// `now` without a pause.
    pub fn defer(&self, now: BootTime) -> BootTime {
        self.deferred_calls.fetch_add(1, Ordering::Relaxed);
        self.bucket().paused_until.max(now)
    }

    /// Pauses the calls of all profiles: the service limits an account, not a profile.
    pub fn pause_for(&self, pause: Duration, now: BootTime) {
        let mut bucket = self.bucket();
        bucket.paused_until = bucket.paused_until.max(now + pause);
    }

    /// Changes the rate.
    pub fn set_rate(&self, per_second: u32, now: BootTime) {
        let mut bucket = self.bucket();
        bucket.fill(now);
        bucket.per_second = per_second;
        bucket.tokens = bucket.tokens.min(burst(per_second));
    }

    /// Returns the number of delayed calls.
    #[must_use]
    pub fn deferred_calls(&self) -> u64 {
        self.deferred_calls.load(Ordering::Relaxed)
    }

    /// Records how long a delayed call has waited for its token.
    pub fn count_wait(&self, wait: Duration) {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.deferred_millis.fetch_add(millis, Ordering::Relaxed);
    }

    /// Returns the time that delayed calls have waited for their tokens, all together.
    #[must_use]
    pub fn deferred_time(&self) -> Duration {
        Duration::from_millis(self.deferred_millis.load(Ordering::Relaxed))
    }

    fn queue(&self, priority: Priority) -> &Semaphore {
        match priority {
            Priority::Interactive => &self.interactive,
            Priority::Background => &self.background,
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        lock(&self.bucket)
    }
}

impl Bucket {
    /// Takes a token.
    ///
    /// # Errors
    /// The time after which a token may be available.
    fn take(&mut self, priority: Priority, now: BootTime) -> Result<(), Duration> {
        // Tokens are fractions, and sums of fractions have rounding errors.
        const TOLERANCE: f64 = 1e-9;
        self.fill(now);
        let pause = self.paused_until.since(now);
        if !pause.is_zero() {
            return Err(pause);
        }
        let reserved = match priority {
            Priority::Interactive => 0.0,
            Priority::Background => burst(self.per_second) / 2.0,
        };
        let missing = reserved + 1.0 - self.tokens;
        if missing > TOLERANCE {
            let wait = Duration::from_secs_f64(missing / f64::from(self.per_second));
            return Err(wait.max(Duration::from_millis(1)));
        }
        self.tokens -= 1.0;
        Ok(())
    }

    fn fill(&mut self, now: BootTime) {
        let gained = now.since(self.filled_at).as_secs_f64() * f64::from(self.per_second);
        self.tokens = (self.tokens + gained).min(burst(self.per_second));
        self.filled_at = self.filled_at.max(now);
    }
}

/// Returns the capacity of a bucket: the tokens of one second, and at least two, so that half of
/// them can be reserved.
fn burst(per_second: u32) -> f64 {
    f64::from(per_second.max(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> BootTime {
        BootTime::from_millis(1_000_000 + millis)
    }

    /// Takes all available tokens, and returns their number.
    fn taken(bucket: &mut Bucket, priority: Priority, now: BootTime) -> u32 {
        let mut count = 0;
        while bucket.take(priority, now).is_ok() {
            count += 1;
        }
        count
    }

    fn bucket(per_second: u32) -> Bucket {
        Bucket {
            per_second,
            tokens: burst(per_second),
            filled_at: at(0),
            paused_until: at(0),
        }
    }

    #[test]
    fn bucket_gives_a_burst_and_then_the_rate() {
        let mut bucket = bucket(10);
        assert_eq!(taken(&mut bucket, Priority::Interactive, at(0)), 10);
        assert_eq!(
            bucket.take(Priority::Interactive, at(0)),
            Err(Duration::from_millis(100))
        );
        assert_eq!(taken(&mut bucket, Priority::Interactive, at(500)), 5);
        assert_eq!(taken(&mut bucket, Priority::Interactive, at(3_600_000)), 10);
    }

    #[test]
    fn background_calls_leave_half_of_the_bucket_to_interactive_ones() {
        let mut bucket = bucket(10);
        assert_eq!(taken(&mut bucket, Priority::Background, at(0)), 5);
        assert_eq!(taken(&mut bucket, Priority::Interactive, at(0)), 5);
        // From empty, a background call waits until the bucket is half full and has one more.
        assert_eq!(
            bucket.take(Priority::Background, at(0)),
            Err(Duration::from_millis(600))
        );
        assert_eq!(taken(&mut bucket, Priority::Background, at(600)), 1);
    }

    #[test]
    fn rate_of_one_a_second_serves_both_priorities() {
        let mut bucket = bucket(1);
        assert_eq!(taken(&mut bucket, Priority::Background, at(0)), 1);
        assert_eq!(taken(&mut bucket, Priority::Interactive, at(0)), 1);
        assert_eq!(taken(&mut bucket, Priority::Background, at(2000)), 1);
    }

    #[test]
    fn longest_requested_pause_delays_all_calls() {
        let rate_limiter = RateLimiter::new(10, at(0));
        rate_limiter.pause_for(Duration::from_secs(5), at(0));
        rate_limiter.pause_for(Duration::from_secs(1), at(0));
        assert!(!rate_limiter.try_take(Priority::Interactive, at(4_999)));
        assert!(rate_limiter.try_take(Priority::Interactive, at(5_000)));
    }

    #[test]
    fn clock_that_goes_back_adds_no_tokens() {
        let mut bucket = bucket(10);
        assert_eq!(taken(&mut bucket, Priority::Interactive, at(1000)), 10);
        assert_eq!(taken(&mut bucket, Priority::Interactive, at(0)), 0);
        assert_eq!(taken(&mut bucket, Priority::Interactive, at(1000)), 0);
    }
}
