//! The wall clock.

use std::time::SystemTime;

/// Returns the seconds since 1970 by the wall clock.
///
/// # Panics
/// When the clock is before 1970.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "a story compares expirations with the real clock, as a client does"
)]
pub fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}
