//! The only room that reads time.
//!
//! Two clocks, for two questions. The wall clock signs requests; it may be wrong. The
//! boot-time clock measures how long something lives; it never jumps and, unlike the
//! clock behind `Instant` and tokio's timers, it goes on while the machine sleeps.

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

/// How long a wait may be before the boot-time clock is looked at again: as long as a
/// caller may have to wait after a suspend, and short enough not to be noticed.
const MAX_SLEEP: Duration = Duration::from_secs(20);

const NANOS_A_MILLI: u64 = 1_000_000;

/// A moment on the boot-time clock: the time since the machine started, suspends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct BootTime {
    /// Enough for 584 years.
    nanos: u64,
}

/// What the time is.
pub trait Clock: Send + Sync + 'static {
    /// Returns the machine's opinion of the date and time.
    fn wall(&self) -> Timestamp;

    /// Returns how long the machine has been up.
    fn boot(&self) -> BootTime;

    /// Returns what tells this boot of the machine from others: a moment on the boot-time
    /// clock means nothing in another one.
    fn boot_id(&self) -> String;

    /// Ends after `longest` at the latest; sooner, when the boot-time clock must be looked at
    /// again: tokio's timers stand still while the machine sleeps, so a long wait is made of
    /// naps.
    fn sleep_at_most(&self, longest: Duration) -> SuspendAwareSleep<'_>;
}

/// A wait whose end says nothing but that it is time to look at the clock.
pub type SuspendAwareSleep<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The clocks of this machine.
#[derive(Debug, Default)]
pub struct SystemClock {
    /// Ends all long naps together, at the multiples of one length: a thousand waits wake the
    /// processor once. After a suspend it comes at once.
    alarm: Option<Arc<Notify>>,
}

/// The timer of the beat.
struct AlarmTimer(AsyncFd<OwnedFd>);

impl BootTime {
    /// Makes a moment from the time since boot.
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

    /// Returns how long after `earlier` this moment is, or zero.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }

    /// Returns whole milliseconds since boot, for an atomic.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.nanos / NANOS_A_MILLI
    }

    /// Undoes [`as_millis`](Self::as_millis).
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
    #[expect(clippy::disallowed_methods, reason = "this is the room that reads it")]
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
        // Listens from before the look, so that no beat comes in between.
        let alarm = self.alarm.as_ref().map(|it| it.notified());
        let left = until_alarm(self.boot());
        match alarm {
            Some(alarm) if longest > left => Box::pin(alarm),
            _ => Box::pin(sleep(longest.min(left))),
        }
    }
}

impl SystemClock {
    /// Takes a timer that goes on while the machine sleeps. Without one, naps end as soon after
    /// a suspend as they would have without it. Called within a runtime.
    #[must_use]
    pub fn with_alarm() -> Self {
        let mut clock = Self::default();
        match AlarmTimer::start(until_alarm(clock.boot()), MAX_SLEEP) {
            Ok(timer) => {
                let alarm = clock.alarm.insert(Arc::default());
                // One for all who nap: a wait for a descriptor is three times as large.
                tokio::spawn(timer.run(Arc::clone(alarm)));
            }
            Err(refusal) => warn!("no timer for the boot-time clock: {refusal}"),
        }
        clock
    }
}

/// Returns how long it is to the next multiple of a nap.
fn until_alarm(now: BootTime) -> Duration {
    let length = MAX_SLEEP.as_millis() as u64;
    Duration::from_millis(length - now.as_millis() % length)
}

impl AlarmTimer {
    fn start(first: Duration, every: Duration) -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(timerfd::ClockId::CLOCK_BOOTTIME, flags)?;
        let beats = Expiration::IntervalDelayed(first.into(), every.into());
        timer.set(beats, TimerSetTimeFlags::empty())?;
        let timer = async_fd::async_fd(OwnedFd::from(timer), Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Rings at each beat, for as long as there is a runtime.
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
    async fn one_beat_ends_every_nap_and_no_nap_that_begins_after_it() {
        let alarm = Arc::<Notify>::default();
        let timer = AlarmTimer::start(SOON, MAX_SLEEP).unwrap();
        tokio::spawn(timer.run(Arc::clone(&alarm)));
        tokio::join!(alarm.notified(), alarm.notified(), alarm.notified());
        assert!(timeout(Duration::ZERO, alarm.notified()).await.is_err());
    }

    #[tokio::test]
    async fn a_beat_that_is_heard_is_followed_by_another() {
        let alarm = Arc::<Notify>::default();
        tokio::spawn(
            AlarmTimer::start(SOON, SOON)
                .unwrap()
                .run(Arc::clone(&alarm)),
        );
        for _ in 0..3 {
            let heard = timeout(MAX_SLEEP, alarm.notified());
            heard.await.expect("it goes on beating");
        }
    }
}
