//! Decides what time STS believes it is: its `Date`, carried on by the boot-time clock, so
//! that setting the wall clock changes nothing.
//!
//! What is kept is never behind the service's clock: `Date` is rounded down to a second,
//! and was written after the request was sent. A life counted from it is never too long.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::runtime::{clock::BootTime, sync::lock};

/// How far two answers may differ and still come from clocks that agree.
const MAX_DISAGREEMENT: SignedDuration = SignedDuration::from_secs(60);

/// No call to STS takes longer while the machine is awake; a longer one slept on the way.
pub const MAX_CALL_DURATION: Duration = Duration::from_secs(60);

/// What `Date` leaves out.
const DATE_RESOLUTION: SignedDuration = SignedDuration::from_secs(1);

/// The service's clock, as far as its answers tell.
#[derive(Default)]
pub struct ServerClock(Mutex<Estimate>);

/// What the service's clock shows when the boot-time clock shows zero.
#[derive(Debug, Clone, Copy, Default)]
struct Estimate {
    /// None before the first answer.
    epoch: Option<Timestamp>,
    /// What one answer said that disagreed; the next one decides. One front end of the
    /// service with a wrong clock must not lead all our calls astray.
    doubt: Option<Timestamp>,
}

impl ServerClock {
    /// Returns the time by the service's clock; none before the first answer.
    #[must_use]
    pub fn at(&self, now: BootTime) -> Option<Timestamp> {
        self.estimate().epoch?.checked_add(since_boot(now)).ok()
    }

    /// Learns from the `Date` of an answer that came `now` to a request that was sent
    /// before. Nothing, when the machine slept between the two.
    pub fn observe(&self, date: Timestamp, sent: BootTime, now: BootTime) {
        if now.since(sent) > MAX_CALL_DURATION {
            return;
        }
        let Some(new) = epoch(date, sent) else { return };
        let mut known = self.estimate();
        let agrees = |with: Option<Timestamp>| {
            with.is_some_and(|with| new.duration_since(with).abs() <= MAX_DISAGREEMENT)
        };
        if known.epoch.is_none() || agrees(known.epoch) || agrees(known.doubt) {
            *known = Estimate {
                epoch: Some(new),
                doubt: None,
            };
        } else {
            known.doubt = Some(new);
        }
    }

    /// Takes over the `Date` of an answer that came `now` and refused our time: that clock
    /// judges us.
    pub fn reset_to(&self, date: Timestamp, now: BootTime) {
        *self.estimate() = Estimate {
            epoch: epoch(date, now),
            doubt: None,
        };
    }

    fn estimate(&self) -> MutexGuard<'_, Estimate> {
        lock(&self.0)
    }
}

fn epoch(date: Timestamp, when: BootTime) -> Option<Timestamp> {
    let latest = date.checked_add(DATE_RESOLUTION).ok()?;
    latest.checked_sub(since_boot(when)).ok()
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
    fn it_goes_on_with_the_boot_time_clock() {
        let time = ServerClock::default();
        assert_eq!(time.at(boot(10)), None);
        time.observe(NOON, boot(10), boot(11));
        assert_eq!(time.at(boot(3610)), Some(NOON + HOUR + SECOND));
    }

    #[test]
    fn one_answer_that_disagrees_changes_nothing_and_a_second_one_does() {
        let time = ServerClock::default();
        time.observe(NOON, boot(0), boot(0));
        time.observe(NOON - HOUR, boot(0), boot(0));
        assert_eq!(time.at(boot(0)), Some(NOON + SECOND));
        time.observe(NOON, boot(0), boot(0));
        time.observe(NOON - HOUR, boot(0), boot(0));
        let cleared = time.at(boot(0));
        assert_eq!(cleared, Some(NOON + SECOND), "a doubt that was cleared");
        time.observe(NOON - HOUR, boot(0), boot(0));
        assert_eq!(time.at(boot(0)), Some(NOON - HOUR + SECOND));
    }

    #[test]
    fn an_answer_that_slept_on_the_way_tells_nothing() {
        let time = ServerClock::default();
        time.observe(NOON, boot(0), boot(3600));
        assert_eq!(time.at(boot(3600)), None);
    }

    #[test]
    fn who_refuses_our_time_is_believed_at_once() {
        let time = ServerClock::default();
        time.observe(NOON, boot(0), boot(0));
        time.reset_to(NOON + HOUR, boot(0));
        assert_eq!(time.at(boot(0)), Some(NOON + HOUR + SECOND));
    }
}
