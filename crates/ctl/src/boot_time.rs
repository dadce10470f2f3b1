//! The clock of leases and time limits: the uptime of the machine, suspends included.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The clock that counts suspends. On macOS that is the monotonic clock, clock_gettime(3).
#[cfg(target_os = "macos")]
const BOOT_CLOCK: ClockId = ClockId::Monotonic;
#[cfg(not(target_os = "macos"))]
const BOOT_CLOCK: ClockId = ClockId::Boottime;

/// Returns the time since the start of the machine.
pub(crate) fn boot_time() -> Duration {
    Duration::try_from(clock_gettime(BOOT_CLOCK)).unwrap_or_default()
}
