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
pub enum Urgency {
    /// Somebody waits for the outcome.
    Waiting,
    /// Nobody does: half of the bucket is left for those who wait.
    Background,
}

/// A token bucket that all profiles share.
pub struct Budget {
    bucket: Mutex<Bucket>,
    /// One place at the head of each queue; a semaphore is fair.
    waiting: Semaphore,
    background: Semaphore,
    held_back: AtomicU64,
}

/// The arithmetic of the bucket.
#[derive(Debug)]
struct Bucket {
    per_second: u32,
    tokens: f64,
    filled_at: BootTime,
    closed_until: BootTime,
}

impl Budget {
    /// Makes a full bucket that gains `per_second` tokens a second and holds as many, at
    /// least two.
    #[must_use]
    pub fn new(per_second: u32, now: BootTime) -> Self {
        Self {
            bucket: Mutex::new(Bucket {
                per_second,
                tokens: burst(per_second),
                filled_at: now,
                closed_until: now,
            }),
            waiting: Semaphore::new(1),
            background: Semaphore::new(1),
            held_back: AtomicU64::new(0),
        }
    }

    /// Takes a token if there is one and nobody stands in line for it.
    pub fn try_take(&self, urgency: Urgency, now: BootTime) -> bool {
        let Ok(_place) = self.queue(urgency).try_acquire() else {
            return false;
        };
        self.bucket().take(urgency, now).is_ok()
    }

    /// Waits in line for a token, first come first served.
    pub async fn take(&self, urgency: Urgency, clock: &dyn Clock) {
        let _place = self.queue(urgency).acquire().await;
        loop {
            let taken = self.bucket().take(urgency, clock.boot());
            match taken {
                Ok(()) => return,
                Err(wait) => clock.nap(wait).await,
            }
        }
    }

    /// Counts a call that has to wait; returns when the budget is open again, if the service
    /// has closed it.
    pub fn hold_back(&self, now: BootTime) -> BootTime {
        self.held_back.fetch_add(1, Ordering::Relaxed);
        self.bucket().closed_until.max(now)
    }

    /// Lets nobody call for a while: the service limits an account, not a profile.
    pub fn close_for(&self, pause: Duration, now: BootTime) {
        let mut bucket = self.bucket();
        bucket.closed_until = bucket.closed_until.max(now + pause);
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
    pub fn held_back(&self) -> u64 {
        self.held_back.load(Ordering::Relaxed)
    }

    fn queue(&self, urgency: Urgency) -> &Semaphore {
        match urgency {
            Urgency::Waiting => &self.waiting,
            Urgency::Background => &self.background,
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        lock(&self.bucket)
    }
}

impl Bucket {
    /// Takes a token, or says how long to wait before the next try.
    fn take(&mut self, urgency: Urgency, now: BootTime) -> Result<(), Duration> {
        self.fill(now);
        let closed = self.closed_until.since(now);
        if !closed.is_zero() {
            return Err(closed);
        }
        let left_over = match urgency {
            Urgency::Waiting => 0.0,
            Urgency::Background => burst(self.per_second) / 2.0,
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

    fn taken(bucket: &mut Bucket, urgency: Urgency, now: BootTime) -> u32 {
        let mut count = 0;
        while bucket.take(urgency, now).is_ok() {
            count += 1;
        }
        count
    }

    fn bucket(per_second: u32) -> Bucket {
        Bucket {
            per_second,
            tokens: burst(per_second),
            filled_at: at(0),
            closed_until: at(0),
        }
    }

    #[test]
    fn a_burst_then_the_rate_and_never_more() {
        let mut bucket = bucket(10);
        assert_eq!(taken(&mut bucket, Urgency::Waiting, at(0)), 10);
        assert_eq!(
            bucket.take(Urgency::Waiting, at(0)),
            Err(Duration::from_millis(100))
        );
        assert_eq!(taken(&mut bucket, Urgency::Waiting, at(500)), 5);
        assert_eq!(taken(&mut bucket, Urgency::Waiting, at(3_600_000)), 10);
    }

    #[test]
    fn what_nobody_waits_for_leaves_half_to_those_who_do() {
        let mut bucket = bucket(10);
        assert_eq!(taken(&mut bucket, Urgency::Background, at(0)), 5);
        assert_eq!(taken(&mut bucket, Urgency::Waiting, at(0)), 5);
        // From empty, it has to wait for its own half to be there again.
        assert_eq!(
            bucket.take(Urgency::Background, at(0)),
            Err(Duration::from_millis(600))
        );
        assert_eq!(taken(&mut bucket, Urgency::Background, at(600)), 1);
    }

    #[test]
    fn the_smallest_rate_still_serves_everybody() {
        let mut bucket = bucket(1);
        assert_eq!(taken(&mut bucket, Urgency::Background, at(0)), 1);
        assert_eq!(taken(&mut bucket, Urgency::Waiting, at(0)), 1);
        assert_eq!(taken(&mut bucket, Urgency::Background, at(2000)), 1);
    }

    #[test]
    fn a_hint_of_the_service_closes_it_for_everybody() {
        let budget = Budget::new(10, at(0));
        budget.close_for(Duration::from_secs(5), at(0));
        budget.close_for(Duration::from_secs(1), at(0));
        assert!(!budget.try_take(Urgency::Waiting, at(4_999)));
        assert!(budget.try_take(Urgency::Waiting, at(5_000)));
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_gives_nothing_away() {
        let mut bucket = bucket(10);
        assert_eq!(taken(&mut bucket, Urgency::Waiting, at(1000)), 10);
        assert_eq!(taken(&mut bucket, Urgency::Waiting, at(0)), 0);
        assert_eq!(taken(&mut bucket, Urgency::Waiting, at(1000)), 0);
    }
}
