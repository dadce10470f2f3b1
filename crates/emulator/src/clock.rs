//! The emulated cloud's clock: the only place here where time is read.
//!
//! A test may hold the clock still and move it by hand, so that expirations and
//! time windows are checked without waiting for them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

/// Says what time it is, by the system or by hand.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Milliseconds since the epoch, when the time is set by hand.
    by_hand: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// Follows the system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self { by_hand: None }
    }

    /// Stands still at `time` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn by_hand(time: Timestamp) -> Self {
        Self {
            by_hand: Some(Arc::new(AtomicI64::new(time.as_millisecond()))),
        }
    }

    /// Moves a clock held by hand; the system's clock is nobody's to move.
    pub fn advance(&self, by: Duration) {
        if let Some(milliseconds) = &self.by_hand {
            let step = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            milliseconds.fetch_add(step, Ordering::SeqCst);
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.by_hand {
            Some(milliseconds) => Timestamp::from_millisecond(milliseconds.load(Ordering::SeqCst))
                .unwrap_or(Timestamp::MAX),
            None => system_now(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the emulator's one place that reads the time"
)]
fn system_now() -> Timestamp {
    Timestamp::now()
}

/// Moves a time without ever leaving the range of time stamps.
pub(crate) fn shifted(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(time)
}

/// The form of HTTP's `Date` header.
pub(crate) fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Reads the form of HTTP's `Date` header.
pub(crate) fn parse_http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text)
        .ok()
        .map(|zoned| zoned.timestamp())
}

/// The form of `Timestamp` and `Expiration`: UTC, whole seconds.
pub(crate) fn iso_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The form of a listing's `LastModified`: UTC, milliseconds.
pub(crate) fn iso_millis(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

/// Reads exactly `YYYY-MM-DDTHH:MM:SSZ`.
pub(crate) fn parse_iso_seconds(text: &str) -> Option<Timestamp> {
    utc(text, "%Y-%m-%dT%H:%M:%SZ", 20)
}

/// Reads exactly `YYYYMMDDTHHMMSSZ`, the form of OSS V4.
pub(crate) fn parse_compact(text: &str) -> Option<Timestamp> {
    utc(text, "%Y%m%dT%H%M%SZ", 16)
}

fn utc(text: &str, format: &str, length: usize) -> Option<Timestamp> {
    if text.len() != length {
        return None;
    }
    let civil = jiff::civil::DateTime::strptime(format, text).ok()?;
    jiff::tz::Offset::UTC.to_timestamp(civil).ok()
}
