//! The clock for the patience of a caller.

use std::time::Instant;

/// Returns the time.
#[expect(
    clippy::disallowed_methods,
    reason = "a caller's patience is a few seconds of being awake, which is what Instant counts"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
