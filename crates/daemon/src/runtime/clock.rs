//! The clocks. No other module reads the time.
//!
//! The wall clock dates the requests to STS; it may be wrong. The boot-time clock
//! (`CLOCK_BOOTTIME`) measures lifetimes; it never jumps, and it advances while the machine is
//! suspended, unlike the clock of `Instant` and of tokio's timers.

use std::{io, ops::Add, os::fd::OwnedFd, pin::Pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use nix::{
    sys::timerfd::{self, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    time::{ClockId, clock_gettime},
    unistd,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
    time::sleep,
};
use tracing::warn;

use crate::runtime::async_fd;

/// Maximum length of a sleep before the boot-time clock is read again, and therefore the maximum
/// delay of a due event after a suspend.
const MAX_SLEEP: Duration = Duration::from_secs(20);

const NANOS_A_MILLI: u64 = 1_000_000;

/// A moment on the boot-time clock: the time since the machine started, suspends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct BootTime {
    /// A `u64` of nanoseconds lasts 584 years.
    nanos: u64,
}

/// The clocks that the daemon reads; tests replace them.
pub trait Clock: Send + Sync + 'static {
    /// Returns the date and time of the wall clock.
    fn wall(&self) -> Timestamp;

    /// Returns the time of the boot-time clock.
    fn boot(&self) -> BootTime;

    /// Returns the identifier of this boot: a moment on the boot-time clock has no meaning in
    /// another boot.
    fn boot_id(&self) -> String;

    /// Sleeps for `longest` at most; the sleep ends sooner when the boot-time clock must be read
    /// again. tokio's timers do not advance during a suspend, therefore a long wait is a series of
    /// short sleeps.
    fn sleep_at_most(&self, longest: Duration) -> SuspendAwareSleep<'_>;
}

/// A sleep that may end early; the caller reads the clock afterwards.
pub type SuspendAwareSleep<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The clocks of this machine.
#[derive(Debug, Default)]
pub struct SystemClock {
    /// Notified at each multiple of [`MAX_SLEEP`], and at once after a suspend. All long sleeps
    /// end together, so that a thousand of them wake the processor once.
    alarm: Option<Arc<Notify>>,
}

/// A timerfd of the boot-time clock that expires at each multiple of [`MAX_SLEEP`].
struct AlarmTimer(AsyncFd<OwnedFd>);

impl BootTime {
    /// Returns the moment at a time since boot.
    #[must_use]
    pub const fn from_duration(since_boot: Duration) -> Self {
        let nanos = since_boot.as_nanos();
        Self {
            nanos: if nanos > u64::MAX as u128 {
                u64::MAX
            } else {
                nanos as u64
            },
        }
    }

    /// Returns the time from `earlier` to this moment; zero if this moment is before `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }

    /// Returns the whole milliseconds since boot, for an atomic.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.nanos / NANOS_A_MILLI
    }

    /// Returns the moment at a number of milliseconds since boot; the inverse of
    /// [`as_millis`](Self::as_millis).
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self {
            nanos: millis.saturating_mul(NANOS_A_MILLI),
        }
    }
}

impl Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        let later = Self::from_duration(later);
        Self {
            nanos: self.nanos.saturating_add(later.nanos),
        }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this module reads the time")]
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn boot(&self) -> BootTime {
        // The call cannot fail on Linux: the clock exists since 2.6.39.
        let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        BootTime::from_duration(time)
    }

    fn boot_id(&self) -> String {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        id.unwrap_or_default().trim().to_owned()
    }

    fn sleep_at_most(&self, longest: Duration) -> SuspendAwareSleep<'_> {
        // Registered before the clock is read, so that no expiration is missed.
        let alarm = self.alarm.as_ref().map(|it| it.notified());
        let left = until_alarm(self.boot());
        match alarm {
            Some(alarm) if longest > left => Box::pin(alarm),
            _ => Box::pin(sleep(longest.min(left))),
        }
    }
}

impl SystemClock {
    /// Returns the clocks with an alarm that expires after a suspend. Without the alarm a sleep is
    /// longer by the time of the suspend. Called within a runtime.
    #[must_use]
    pub fn with_alarm() -> Self {
        let mut clock = Self::default();
        match AlarmTimer::start(until_alarm(clock.boot()), MAX_SLEEP) {
            Ok(timer) => {
                let alarm = clock.alarm.insert(Arc::default());
                // One task waits for the timerfd, and a `Notify` for each sleep: a wait for a
                // descriptor takes three times the memory.
                tokio::spawn(timer.run(Arc::clone(alarm)));
            }
            Err(error) => warn!("cannot create a timer of the boot-time clock: {error}"),
        }
        clock
    }
}

/// Returns the time to the next multiple of [`MAX_SLEEP`].
fn until_alarm(now: BootTime) -> Duration {
    let length = MAX_SLEEP.as_millis() as u64;
    Duration::from_millis(length - now.as_millis() % length)
}

impl AlarmTimer {
    fn start(first: Duration, interval: Duration) -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(timerfd::ClockId::CLOCK_BOOTTIME, flags)?;
        let expiration = Expiration::IntervalDelayed(first.into(), interval.into());
        timer.set(expiration, TimerSetTimeFlags::empty())?;
        let timer = async_fd::async_fd(OwnedFd::from(timer), Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Notifies `alarm` at each expiration, until the runtime ends.
    async fn run(self, alarm: Arc<Notify>) {
        while let Ok(mut ready) = self.0.readable().await {
            ready.clear_ready();
            let _ = unistd::read(self.0.get_ref(), &mut [0; 8]);
            alarm.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn alarm_ends_all_sleeps_that_began_before_it() {
        let alarm = Arc::<Notify>::default();
        let timer = AlarmTimer::start(SOON, MAX_SLEEP).unwrap();
        tokio::spawn(timer.run(Arc::clone(&alarm)));
        tokio::join!(alarm.notified(), alarm.notified(), alarm.notified());
        assert!(timeout(Duration::ZERO, alarm.notified()).await.is_err());
    }

    #[tokio::test]
    async fn alarm_expires_again_after_each_interval() {
        let alarm = Arc::<Notify>::default();
        tokio::spawn(
            AlarmTimer::start(SOON, SOON)
                .unwrap()
                .run(Arc::clone(&alarm)),
        );
        for _ in 0..3 {
            let expired = timeout(MAX_SLEEP, alarm.notified());
            expired.await.expect("another expiration");
        }
    }
}
