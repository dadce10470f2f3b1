//! The clock of the emulator, the only code here that reads the system's time.
//!
//! A manual clock stands still until a test moves it, so that expirations and time windows are
//! tested without waiting.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

/// Largest distance between a request's time stamp and the server's clock. STS and OSS document
/// 15 minutes.
const TIMESTAMP_WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// A source of the current time: the system's clock or a manual one.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Milliseconds since the epoch; `None` for the system's clock.
    manual: Option<Arc<AtomicI64>>,
}

/// The time of one request, as it is and as the server's clock shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestTime {
    pub(crate) actual: Timestamp,
    /// Differs from `actual` only under a `wrong-date` fault.
    pub(crate) server: Timestamp,
    pub(crate) offset: SignedDuration,
}

impl Clock {
    /// Returns a clock that follows the system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self { manual: None }
    }

    /// Returns a clock that stands still at `time` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(time: Timestamp) -> Self {
        Self {
            manual: Some(Arc::new(AtomicI64::new(time.as_millisecond()))),
        }
    }

    /// Moves a manual clock forward. The system's clock stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Some(milliseconds) = &self.manual {
            let step = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            milliseconds.fetch_add(step, Ordering::SeqCst);
        }
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.manual {
            Some(milliseconds) => Timestamp::from_millisecond(milliseconds.load(Ordering::SeqCst))
                .unwrap_or(Timestamp::MAX),
            None => system_now(),
        }
    }
}

impl RequestTime {
    /// Returns the time of a request that the server's clock, shifted by `offset`, has received.
    pub(crate) fn new(actual: Timestamp, offset: SignedDuration) -> Self {
        Self {
            actual,
            server: saturating_add(actual, offset),
            offset,
        }
    }

    /// Returns `true` if a request's time stamp is close enough to the server's clock.
    pub(crate) fn is_within_window(&self, stamp: Timestamp) -> bool {
        self.server.duration_since(stamp).abs() <= TIMESTAMP_WINDOW
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the only read of the system's time in the emulator"
)]
fn system_now() -> Timestamp {
    Timestamp::now()
}

/// Returns `time + by`; `time` itself if the sum is outside the range of time stamps.
pub(crate) fn saturating_add(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(time)
}

/// Formats a time as HTTP's `Date` header does.
pub(crate) fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Parses the format of HTTP's `Date` header.
pub(crate) fn parse_http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text)
        .ok()
        .map(|zoned| zoned.timestamp())
}

/// Formats a time as `Timestamp` and `Expiration` do: UTC, whole seconds.
pub(crate) fn iso_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Formats a time as `LastModified` in a list of objects does: UTC, milliseconds.
pub(crate) fn iso_millis(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

/// Parses `YYYY-MM-DDTHH:MM:SSZ`; `None` for any other format.
pub(crate) fn parse_iso_seconds(text: &str) -> Option<Timestamp> {
    parse_utc(text, "%Y-%m-%dT%H:%M:%SZ", 20)
}

/// Parses `YYYYMMDDTHHMMSSZ`, the format of the V4 signatures; `None` for any other format.
pub(crate) fn parse_compact(text: &str) -> Option<Timestamp> {
    parse_utc(text, "%Y%m%dT%H%M%SZ", 16)
}

fn parse_utc(text: &str, format: &str, length: usize) -> Option<Timestamp> {
    if text.len() != length {
        return None;
    }
    let civil = jiff::civil::DateTime::strptime(format, text).ok()?;
    jiff::tz::Offset::UTC.to_timestamp(civil).ok()
}
