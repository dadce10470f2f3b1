//! The only room that reads time.
//!
//! Two clocks, for two questions. The wall clock signs requests; it may be wrong. The
//! boot-time clock measures how long something lives; it never jumps and, unlike the
//! clock behind `Instant` and tokio's timers, it goes on while the machine sleeps.

use std::{ops::Add, time::Duration};

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// How long a wait may be before the boot-time clock is looked at again: as long as a
/// caller may have to wait after a suspend, and short enough not to be noticed.
const NAP: Duration = Duration::from_secs(20);

/// A moment on the boot-time clock: the time since the machine started, suspends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct BootTime(Duration);

/// What the time is.
pub trait Clock: Send + Sync + 'static {
    /// Returns the machine's opinion of the date and time.
    fn wall(&self) -> Timestamp;

    /// Returns how long the machine has been up.
    fn boot(&self) -> BootTime;

    /// Returns what tells this boot of the machine from others: a moment on the boot-time
    /// clock means nothing in another one.
    fn boot_id(&self) -> String;

    /// Returns how long a timer may run before the boot-time clock must be looked at again:
    /// timers stand still while the machine sleeps, so a long wait is made of naps.
    fn nap(&self) -> Duration;
}

/// The clocks of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl BootTime {
    /// Makes a moment from the time since boot.
    #[must_use]
    pub const fn from_duration(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// Returns how long after `earlier` this moment is, or zero.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns whole milliseconds since boot, for an atomic.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// Undoes [`as_millis`](Self::as_millis).
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
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
        BootTime(time)
    }

    fn boot_id(&self) -> String {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        id.unwrap_or_default().trim().to_owned()
    }

    /// All naps end together, at the multiples of one length: a thousand waits wake the
    /// processor once.
    fn nap(&self) -> Duration {
        let length = NAP.as_millis() as u64;
        Duration::from_millis(length - self.boot().as_millis() % length)
    }
}
