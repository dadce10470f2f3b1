//! Durations in the account model's file, in fault scripts and on the command line.

use std::time::Duration;

use jiff::SignedDuration;

/// Parses `60s`, `15m` or `1h30m`; `None` for a negative duration and for any other text.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let duration: SignedDuration = text.parse().ok()?;
    Duration::try_from(duration).ok()
}
