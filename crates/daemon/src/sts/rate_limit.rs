//! Decides how many calls STS gets from this machine. The service allows an account 100 a
//! second, shared by all its users; a thousand profiles that wake up at once must stay far
//! below, and a caller who waits must not stand behind those that nobody waits for.

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

/// Who wants to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Somebody waits for the outcome.
    Interactive,
    /// Nobody does: half of the bucket is left for those who wait.
    Background,
}

/// A token bucket that all profiles share.
pub struct RateLimiter {
    bucket: Mutex<Bucket>,
    /// One place at the head of each queue; a semaphore is fair.
    interactive: Semaphore,
    background: Semaphore,
    deferred_calls: AtomicU64,
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
    /// Makes a full bucket that gains `per_second` tokens a second and holds as many, at
    /// least two.
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
        }
    }

    /// Takes a token if there is one and nobody stands in line for it.
    pub fn try_take(&self, priority: Priority, now: BootTime) -> bool {
        let Ok(_permit) = self.queue(priority).try_acquire() else {
            return false;
        };
        self.bucket().take(priority, now).is_ok()
    }

    /// Waits in line for a token, first come first served.
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

    /// Counts a call that has to wait; returns when the budget is open again, if the service
    /// has closed it.
    pub fn defer(&self, now: BootTime) -> BootTime {
        self.deferred_calls.fetch_add(1, Ordering::Relaxed);
        self.bucket().paused_until.max(now)
    }

    /// Lets nobody call for a while: the service limits an account, not a profile.
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

    /// Returns how many calls had to wait in line.
    #[must_use]
    pub fn deferred_calls(&self) -> u64 {
        self.deferred_calls.load(Ordering::Relaxed)
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
    /// Takes a token, or says how long to wait before the next try.
    fn take(&mut self, priority: Priority, now: BootTime) -> Result<(), Duration> {
        self.fill(now);
        let closed = self.paused_until.since(now);
        if !closed.is_zero() {
            return Err(closed);
        }
        let left_over = match priority {
            Priority::Interactive => 0.0,
            Priority::Background => burst(self.per_second) / 2.0,
        };
        let missing = left_over + 1.0 - self.tokens;
        // What is missing may be a rounding error away from nothing.
        if missing > 1e-9 {
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

/// How many tokens a bucket holds: a second's worth, and at least two, so that there is a
/// half to leave over.
fn burst(per_second: u32) -> f64 {
    f64::from(per_second.max(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> BootTime {
        BootTime::from_millis(1_000_000 + millis)
    }

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
    fn a_burst_then_the_rate_and_never_more() {
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
    fn what_nobody_waits_for_leaves_half_to_those_who_do() {
        let mut bucket = bucket(10);
        assert_eq!(taken(&mut bucket, Priority::Background, at(0)), 5);
        assert_eq!(taken(&mut bucket, Priority::Interactive, at(0)), 5);
        // From empty, it has to wait for its own half to be there again.
        assert_eq!(
            bucket.take(Priority::Background, at(0)),
            Err(Duration::from_millis(600))
        );
        assert_eq!(taken(&mut bucket, Priority::Background, at(600)), 1);
    }

    #[test]
    fn the_smallest_rate_still_serves_everybody() {
        let mut bucket = bucket(1);
        assert_eq!(taken(&mut bucket, Priority::Background, at(0)), 1);
        assert_eq!(taken(&mut bucket, Priority::Interactive, at(0)), 1);
        assert_eq!(taken(&mut bucket, Priority::Background, at(2000)), 1);
    }

    #[test]
    fn a_hint_of_the_service_closes_it_for_everybody() {
        let rate_limiter = RateLimiter::new(10, at(0));
        rate_limiter.pause_for(Duration::from_secs(5), at(0));
        rate_limiter.pause_for(Duration::from_secs(1), at(0));
        assert!(!rate_limiter.try_take(Priority::Interactive, at(4_999)));
        assert!(rate_limiter.try_take(Priority::Interactive, at(5_000)));
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_gives_nothing_away() {
        let mut bucket = bucket(10);
        assert_eq!(taken(&mut bucket, Priority::Interactive, at(1000)), 10);
        assert_eq!(taken(&mut bucket, Priority::Interactive, at(0)), 0);
        assert_eq!(taken(&mut bucket, Priority::Interactive, at(1000)), 0);
    }
}
