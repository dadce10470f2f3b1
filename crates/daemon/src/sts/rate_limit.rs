//! The rate limit of the calls to STS. The service's quota is 100 calls a second for each account,
//! region and API, shared by all users and machines of the account (docs/configuration.md has the
//! source); a thousand profiles that are due at once must stay far below that. A call for which a
//! caller waits must not queue behind background refreshes.
//!
//! One token bucket bounds all calls of the daemon; a [`Quota`] bounds those to one region and API
//! after STS has throttled one of them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::{
    runtime::{
        clock::{BootTime, Clock},
        sync::lock,
    },
    sts::quota::{Api, Quota},
};

/// The priority of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// A caller waits for the result.
    Interactive,
    /// No caller waits: half of the bucket is reserved for interactive calls.
    Background,
}

/// A token bucket that all profiles share, and the quotas of STS.
pub struct RateLimiter {
    bucket: Mutex<Bucket>,
    quotas: Mutex<BTreeMap<(String, Api), Arc<Quota>>>,
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
            }),
            quotas: Mutex::default(),
            interactive: Semaphore::new(1),
            background: Semaphore::new(1),
            deferred_calls: AtomicU64::new(0),
            deferred_millis: AtomicU64::new(0),
        }
    }

    /// Returns the quota of a region and an API, which outlives a change of the configuration.
    #[must_use]
    pub fn quota(&self, region: &str, api: Api) -> Arc<Quota> {
        let mut quotas = lock(&self.quotas);
        Arc::clone(quotas.entry((region.to_owned(), api)).or_default())
    }

    /// Takes a token if one is available and no call is queued; returns `true` on success.
    pub fn try_take(&self, quota: &Quota, priority: Priority, now: BootTime) -> bool {
        let Ok(_place) = quota.queue(priority).try_acquire() else {
            return false;
        };
        let Ok(_permit) = self.queue(priority).try_acquire() else {
            return false;
        };
        self.take_now(quota, priority, now).is_ok()
    }

    /// Waits for a token; calls of one priority and quota receive theirs in order.
    pub async fn take(&self, quota: &Quota, priority: Priority, clock: &dyn Clock) {
        let _place = quota.queue(priority).acquire().await;
        loop {
            quota.opened(priority, clock).await;
            let _permit = self.queue(priority).acquire().await;
            // A call of the other priority may have come first.
            while quota.wait(clock.boot()).is_zero() {
                match self.take_now(quota, priority, clock.boot()) {
                    Ok(()) => return,
                    Err(wait) => clock.sleep_at_most(wait).await,
                }
            }
        }
    }

    /// Counts a delayed call; returns the end of the quota's pause, or `now` without a pause.
    pub fn defer(&self, quota: &Quota, now: BootTime) -> BootTime {
        self.deferred_calls.fetch_add(1, Ordering::Relaxed);
        now + quota.wait(now)
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The time after which a token may be available.
    fn take_now(&self, quota: &Quota, priority: Priority, now: BootTime) -> Result<(), Duration> {
        let mut congestion = quota.congestion();
        let wait = congestion.wait(now);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.bucket().take(priority, now)?;
        congestion.called(now);
        Ok(())
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
    use jiff::Timestamp;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::runtime::clock::SuspendAwareSleep;

    /// A clock with the paused time of tokio and without a bound of a sleep.
    struct PausedClock(Instant);

    impl Clock for PausedClock {
        fn wall(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn boot(&self) -> BootTime {
            at(0) + self.0.elapsed()
        }

        fn boot_id(&self) -> String {
            String::new()
        }

        fn sleep_at_most(&self, longest: Duration) -> SuspendAwareSleep<'_> {
            Box::pin(sleep(longest))
        }
    }

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
    fn throttling_of_one_api_delays_no_other_api_and_region() {
        let rate_limiter = RateLimiter::new(10, at(0));
        let throttled = rate_limiter.quota("cn-hongkong", Api::AssumeRole);
        let pause = throttled.refused(at(0), at(0), Some(Duration::from_secs(5)));
        let end = at(0) + pause;
        assert!(pause >= Duration::from_secs(5));
        let same = rate_limiter.quota("cn-hongkong", Api::AssumeRole);
        let before = at(4_999);
        assert!(!rate_limiter.try_take(&same, Priority::Interactive, before));
        for (region, api) in [
            ("cn-hongkong", Api::AssumeRoleWithOidc),
            ("cn-hangzhou", Api::AssumeRole),
        ] {
            let other = rate_limiter.quota(region, api);
            assert!(rate_limiter.try_take(&other, Priority::Interactive, before));
        }
        assert!(rate_limiter.try_take(&same, Priority::Interactive, end));
    }

    #[tokio::test(start_paused = true)]
    async fn interactive_call_is_first_after_a_pause() {
        let clock = PausedClock(Instant::now());
        let rate_limiter = RateLimiter::new(10, clock.boot());
        let quota = rate_limiter.quota("cn-hongkong", Api::AssumeRole);
        quota.refused(clock.boot(), clock.boot(), None);
        let order = Mutex::new(Vec::new());
        let call = async |priority| {
            rate_limiter.take(&quota, priority, &clock).await;
            lock(&order).push(priority);
        };
        tokio::join!(
            call(Priority::Background),
            call(Priority::Background),
            call(Priority::Interactive),
            call(Priority::Interactive),
        );
        let (first, last) = ([Priority::Interactive; 2], [Priority::Background; 2]);
        assert_eq!(*lock(&order), [first, last].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn answer_shortens_the_wait_of_the_next_call() {
        let clock = PausedClock(Instant::now());
        let rate_limiter = RateLimiter::new(10, clock.boot());
        let quota = rate_limiter.quota("cn-hongkong", Api::AssumeRole);
        for _ in 0..5 {
            let now = clock.boot();
            sleep(quota.refused(now, now, None)).await;
        }
        rate_limiter
            .take(&quota, Priority::Background, &clock)
            .await;
        let (before, pause) = (Instant::now(), quota.wait(clock.boot()));
        assert!(pause > Duration::from_secs(299), "{pause:?}");
        tokio::join!(
            rate_limiter.take(&quota, Priority::Background, &clock),
            async { quota.answered(clock.boot()) },
        );
        let waited = before.elapsed();
        assert!(waited <= Duration::from_secs(51), "{waited:?}");
    }

    #[test]
    fn clock_that_goes_back_adds_no_tokens() {
        let mut bucket = bucket(10);
        assert_eq!(taken(&mut bucket, Priority::Interactive, at(1000)), 10);
        assert_eq!(taken(&mut bucket, Priority::Interactive, at(0)), 0);
        assert_eq!(taken(&mut bucket, Priority::Interactive, at(1000)), 0);
    }
}
