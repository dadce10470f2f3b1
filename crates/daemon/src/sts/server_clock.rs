//! An estimate of the clock of STS: the `Date` of its answers, advanced by the boot-time clock. A
//! change of the wall clock has no effect.
//!
//! The estimate is never behind the clock of STS: `Date` is rounded down to a second, and STS
//! writes `Date` after the request was sent. A lifetime computed from the estimate is never too
//! long.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::runtime::{clock::BootTime, sync::lock};

/// Maximum difference between two answers whose clocks agree.
const MAX_DISAGREEMENT: SignedDuration = SignedDuration::from_secs(60);

/// Maximum duration of a call to STS; during a longer one the machine was suspended.
pub const MAX_CALL_DURATION: Duration = Duration::from_secs(60);

/// The resolution of `Date`.
const DATE_RESOLUTION: SignedDuration = SignedDuration::from_secs(1);

/// The clock of STS, estimated from its answers.
#[derive(Default)]
pub struct ServerClock(Mutex<Estimate>);

/// The estimate: the time of STS at which the boot-time clock was zero.
#[derive(Debug, Clone, Copy, Default)]
struct Estimate {
    /// `None` before the first answer.
    epoch: Option<Timestamp>,
    /// The epoch of the last answer that disagreed; the next answer confirms or clears it. One
    /// front end of the service with a wrong clock must not change the dates of all calls.
    disputed_epoch: Option<Timestamp>,
}

impl ServerClock {
    /// Returns the time by the clock of STS; `None` before the first answer.
    #[must_use]
    pub fn at(&self, now: BootTime) -> Option<Timestamp> {
        self.estimate().epoch?.checked_add(since_boot(now)).ok()
    }

    /// Updates the estimate from the `Date` of an answer that arrived at `now`. The answer is
    /// ignored if the machine was suspended since the request was `sent`.
    pub fn observe(&self, date: Timestamp, sent: BootTime, now: BootTime) {
        if now.since(sent) > MAX_CALL_DURATION {
            return;
        }
        let Some(new) = epoch(date, sent) else { return };
        let mut known = self.estimate();
        let agrees = |with: Option<Timestamp>| {
            with.is_some_and(|with| new.duration_since(with).abs() <= MAX_DISAGREEMENT)
        };
        if known.epoch.is_none() || agrees(known.epoch) || agrees(known.disputed_epoch) {
            *known = Estimate {
                epoch: Some(new),
                disputed_epoch: None,
            };
        } else {
            known.disputed_epoch = Some(new);
        }
    }

    /// Replaces the estimate by the `Date` of an answer that arrived at `now` and rejected the
    /// date of the request: that clock checks the next request as well.
    pub fn reset_to(&self, date: Timestamp, now: BootTime) {
        *self.estimate() = Estimate {
            epoch: epoch(date, now),
            disputed_epoch: None,
        };
    }

    fn estimate(&self) -> MutexGuard<'_, Estimate> {
        lock(&self.0)
    }
}

/// Returns the time of STS at boot, if `date` was its time at `at`.
fn epoch(date: Timestamp, at: BootTime) -> Option<Timestamp> {
    let latest = date.checked_add(DATE_RESOLUTION).ok()?;
    latest.checked_sub(since_boot(at)).ok()
}

fn since_boot(now: BootTime) -> SignedDuration {
    SignedDuration::try_from(now.since(BootTime::default())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::constant(1_795_003_200, 0);
    const HOUR: SignedDuration = SignedDuration::from_hours(1);
    const SECOND: SignedDuration = SignedDuration::from_secs(1);

    fn boot(seconds: u64) -> BootTime {
        BootTime::from_millis(seconds * 1000)
    }

    #[test]
    fn server_clock_advances_with_the_boot_time_clock() {
        let time = ServerClock::default();
        assert_eq!(time.at(boot(10)), None);
        time.observe(NOON, boot(10), boot(11));
        assert_eq!(time.at(boot(3610)), Some(NOON + HOUR + SECOND));
    }

    #[test]
    fn server_clock_changes_after_two_answers_that_disagree() {
        let time = ServerClock::default();
        time.observe(NOON, boot(0), boot(0));
        time.observe(NOON - HOUR, boot(0), boot(0));
        assert_eq!(time.at(boot(0)), Some(NOON + SECOND));
        time.observe(NOON, boot(0), boot(0));
        time.observe(NOON - HOUR, boot(0), boot(0));
        let cleared = time.at(boot(0));
        assert_eq!(cleared, Some(NOON + SECOND), "the dispute was cleared");
        time.observe(NOON - HOUR, boot(0), boot(0));
        assert_eq!(time.at(boot(0)), Some(NOON - HOUR + SECOND));
    }

    #[test]
    fn answer_that_spans_a_suspend_is_ignored() {
        let time = ServerClock::default();
        time.observe(NOON, boot(0), boot(3600));
        assert_eq!(time.at(boot(3600)), None);
    }

    #[test]
    fn date_of_an_answer_that_rejects_the_time_is_adopted() {
        let time = ServerClock::default();
        time.observe(NOON, boot(0), boot(0));
        time.reset_to(NOON + HOUR, boot(0));
        assert_eq!(time.at(boot(0)), Some(NOON + HOUR + SECOND));
    }
}
