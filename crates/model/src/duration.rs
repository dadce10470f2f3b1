//! Durations: their text, and the limits of a session.

use std::time::Duration;

use jiff::SignedDuration;

use crate::Invalid;

/// The requested lifetime of a session: 15 minutes to 12 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionDuration(Duration);

impl SessionDuration {
    /// The minimum lifetime of a session.
    pub const MIN: Duration = Duration::from_secs(15 * 60);

    /// The maximum lifetime of a session.
    pub const MAX: Duration = Duration::from_secs(12 * 60 * 60);

    /// The default of STS.
    pub const DEFAULT: Self = Self(Duration::from_secs(3600));

    /// Parses a duration with its unit: `15m`, `1h`, `1h30m`.
    ///
    /// # Errors
    /// [`Invalid`], with the allowed values.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        parse_duration(text)
            .filter(|it| it.subsec_nanos() == 0)
            .and_then(Self::within_limits)
            .ok_or_else(|| Invalid::new("a duration is 15m to 12h, with its unit: 15m, 1h, 1h30m"))
    }

    /// Returns the duration; `None` unless STS accepts it.
    #[must_use]
    pub fn within_limits(duration: Duration) -> Option<Self> {
        let limits = Self::MIN..=Self::MAX;
        limits.contains(&duration).then_some(Self(duration))
    }

    /// Returns the duration of a session that is needed for `rest`: a minute more, for the time that
    /// a call loses; at least the minimum of STS, and at most this duration.
    #[must_use]
    pub fn for_remaining(self, rest: Duration) -> Self {
        let wanted = Duration::from_secs(rest.as_secs().saturating_add(60));
        Self(wanted.max(Self::MIN).min(self.0))
    }

    /// Returns the duration.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

/// Parses a duration with its unit: `500ms`, `30s`, `1h30m`. `None` for a number without a unit and
/// for a negative duration.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let parsed: SignedDuration = text.parse().ok()?;
    Duration::try_from(parsed).ok()
}

/// Returns a number of seconds as a duration in its two largest units: `1h02m`, `59m58s`, `12s`.
#[must_use]
pub fn format_duration(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m{rest:02}s"),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

/// Returns a number of seconds as a duration in its largest exact unit: `1h`, `90m`, `901s`.
#[must_use]
pub fn exact_duration(seconds: u64) -> String {
    match seconds {
        hours if hours.is_multiple_of(3600) => format!("{}h", hours / 3600),
        minutes if minutes.is_multiple_of(60) => format!("{}m", minutes / 60),
        seconds => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_written_in_its_two_largest_units() {
        let check = |seconds, expected: &str| assert_eq!(format_duration(seconds), expected);
        check(0, "0s");
        check(61, "1m01s");
        check(339, "5m39s");
        check(3599, "59m59s");
        check(3720, "1h02m");
        check(90_000, "1d01h");
    }

    #[test]
    fn exact_duration_is_parsed_to_the_same_seconds() {
        for (seconds, expected) in [(3600, "1h"), (5400, "90m"), (901, "901s"), (43_200, "12h")] {
            assert_eq!(exact_duration(seconds), expected);
            assert_eq!(parse_duration(expected), Some(Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn duration_has_a_unit_and_is_within_the_limits() {
        let check = |text: &str, seconds: Option<u64>| {
            let duration = SessionDuration::new(text).ok().map(|it| it.get().as_secs());
            assert_eq!(duration, seconds, "{text}");
        };
        check("15m", Some(900));
        check("1h", Some(3600));
        check("1h30m", Some(5400));
        check("12h", Some(43_200));
        for text in ["14m", "899s", "12h1s", "3600", "", "1x", "-1h", "13h"] {
            check(text, None);
        }
    }
}
