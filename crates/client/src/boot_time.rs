//! The clock for remaining lifetimes: the machine's uptime, suspends included
//! (`CLOCK_BOOTTIME`). It never jumps and cannot be set.

#[cfg(not(target_os = "macos"))]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The clock that counts suspends. On macOS that is the monotonic clock, clock_gettime(3).
#[cfg(target_os = "macos")]
const BOOT_CLOCK: ClockId = ClockId::Monotonic;
#[cfg(not(target_os = "macos"))]
const BOOT_CLOCK: ClockId = ClockId::Boottime;

/// A moment, in nanoseconds since the machine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BootTime(u64);

/// The tick of the kernel's coarse clock at which [`BOOT`] was read.
#[cfg(not(target_os = "macos"))]
static TICK: AtomicU64 = AtomicU64::new(0);

/// The time at that tick, or a later one.
#[cfg(not(target_os = "macos"))]
static BOOT: AtomicU64 = AtomicU64::new(0);

impl BootTime {
    /// The start of the machine.
    pub(crate) const ZERO: Self = Self(0);

    /// Returns the time. The call takes about 30 ns, the time of a read of the processor's counter.
    pub(crate) fn now() -> Self {
        Self(nanoseconds(clock_gettime(BOOT_CLOCK)))
    }

    /// Returns the time as of the kernel's last tick, a few milliseconds ago at the most.
    ///
    /// Neither clock is a system call, but the vDSO has a coarse version only of the clock that
    /// stands still during suspend. That one shows whether a tick has passed since the boot-time
    /// clock was read, so the boot-time clock is read once a tick.
    #[cfg(not(target_os = "macos"))]
    pub(crate) fn coarse() -> Self {
        let tick = clock_gettime(ClockId::MonotonicCoarse);
        // The value is only compared for equality, which needs no multiplication.
        let tick = tick.tv_sec.cast_unsigned() << 30 | tick.tv_nsec.cast_unsigned();
        if TICK.load(Ordering::Acquire) == tick {
            return Self(BOOT.load(Ordering::Relaxed));
        }
        let Self(boot) = Self::now();
        // The later time wins, so that a thread preempted between these two lines stores no
        // old time beside another thread's tick.
        let boot = BOOT.fetch_max(boot, Ordering::Relaxed).max(boot);
        TICK.store(tick, Ordering::Release);
        Self(boot)
    }

    /// Returns the time: macOS has no coarse clock.
    #[cfg(target_os = "macos")]
    pub(crate) fn coarse() -> Self {
        Self::now()
    }

    /// Returns how long after `earlier` this moment is, or zero.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        let later = u64::try_from(later.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(later))
    }
}

fn nanoseconds(time: Timespec) -> u64 {
    let whole = time.tv_sec.cast_unsigned().saturating_mul(1_000_000_000);
    whole.saturating_add(time.tv_nsec.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::BootTime;

    #[test]
    fn coarse_time_is_monotonic_and_not_after_now() {
        let follow = || {
            let mut last = BootTime::ZERO;
            for _ in 0..200_000 {
                let coarse = BootTime::coarse();
                assert!(coarse >= last);
                assert!(coarse <= BootTime::now());
                last = coarse;
            }
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(follow);
            }
        });
        let before = BootTime::now();
        thread::sleep(Duration::from_millis(50));
        assert!(BootTime::coarse() > before);
    }
}
