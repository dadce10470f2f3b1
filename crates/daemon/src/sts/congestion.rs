//! The rate at which this daemon calls one quota of STS, as arithmetic: additive increase and
//! multiplicative decrease (AIMD, RFC 5681).
//!
//! A machine sees the load of the account only in its own refusals, and most machines make one
//! call in half an hour. The state is therefore a pause that grows fast: 100,000 machines that are
//! refused together must reach a pause of minutes in a few calls each. `cargo xtask simulate --fleet`
//! prints how many calls are refused.

use std::time::Duration;

use crate::runtime::{backoff::MAX_BACKOFF, clock::BootTime};

/// The rate after a first refusal: a burst of another program is over in seconds.
const FIRST_RATE: f64 = 0.5;

/// The factor by which a refusal lowers the rate. With 2 instead of 4, the refusals of a fleet
/// without a spread are 1.5 times as many.
const DECREASE: f64 = 4.0;

/// Minimum rate: a call in five minutes, so that a machine has a session some minutes after the
/// end of the throttling.
const MIN_RATE: f64 = 1.0 / 300.0;

/// The calls a second that an answered call adds. The rate of a daemon with many due profiles
/// doubles about each 40 s.
const INCREASE: f64 = 1.0 / 60.0;

/// Time since the last refusal after which an answered call ends the limit.
const RECOVERY_TIME: Duration = Duration::from_secs(10 * 60);

/// The longest pause after a refusal: the minimum rate with the largest jitter.
pub const MAX_THROTTLE_PAUSE: Duration = Duration::from_secs(375);

/// The state of one quota: a region and an API.
#[derive(Debug, Default)]
pub(super) struct Congestion {
    /// Calls a second; `None` without a refusal, which limits nothing.
    rate: Option<f64>,
    /// The time of the next call at this rate.
    next_call: BootTime,
    /// The end of the longest pause that STS has asked for.
    hint_until: BootTime,
    /// The time of the last decrease.
    decreased_at: BootTime,
}

impl Congestion {
    /// Lowers the rate after a refusal of a call that was sent at `sent`, and returns the pause until the
    /// next call. Calls that were in flight together lower it once. `hint` is the pause that STS
    /// asks for; `random` is from 0 to 1, so that machines that were refused together do not return
    /// together.
    pub(super) fn refused(
        &mut self,
        sent: BootTime,
        now: BootTime,
        hint: Option<Duration>,
        random: f64,
    ) -> Duration {
        let random = random.clamp(0.0, 1.0);
        if self.rate.is_none() || sent >= self.decreased_at {
            let before = self.rate.unwrap_or(FIRST_RATE * DECREASE);
            // After many answered calls the rate says little about the refused one.
            let rate = (before.min(FIRST_RATE * DECREASE) / DECREASE).max(MIN_RATE);
            self.rate = Some(rate);
            self.decreased_at = now;
            let pause = Duration::from_secs_f64((0.25 + random) / rate);
            self.next_call = now + pause;
        }
        if let Some(hint) = hint {
            // A hint of a day is an error of the service.
            let hint = hint.min(MAX_BACKOFF).mul_f64(1.0 + 0.1 * random);
            self.hint_until = self.hint_until.max(now + hint);
        }
        self.wait(now)
    }

    /// Raises the rate after an answer that is no throttling.
    pub(super) fn answered(&mut self, now: BootTime) {
        let Some(rate) = &mut self.rate else { return };
        *rate += INCREASE;
        self.next_call = self
            .next_call
            .min(now + Duration::from_secs_f64(1.0 / *rate));
        if now.since(self.decreased_at) >= RECOVERY_TIME {
            self.rate = None;
        }
    }

    /// Returns the time until the next call.
    pub(super) fn wait(&self, now: BootTime) -> Duration {
        let paced = self
            .rate
            .map_or(Duration::ZERO, |_| self.next_call.since(now));
        paced.max(self.hint_until.since(now))
    }

    /// Counts a call.
    pub(super) fn called(&mut self, now: BootTime) {
        if let Some(rate) = self.rate {
            self.next_call = now + Duration::from_secs_f64(1.0 / rate);
        }
    }

    /// Takes back a call that has no answer of STS, unless a refusal has come since.
    pub(super) fn unanswered(&mut self, sent: BootTime) {
        if sent >= self.decreased_at {
            self.next_call = self.next_call.min(sent);
        }
    }

    /// Ends the pause of the rate, not the one that STS has asked for.
    pub(super) fn end_pause(&mut self) {
        self.next_call = BootTime::default();
    }

    /// Returns the time between two calls at the present rate.
    pub(super) fn interval(&self) -> Duration {
        self.rate
            .map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime::from_millis(1_000_000 + seconds * 1000)
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn pause_grows_fourfold_with_each_refusal_to_the_maximum() {
        let mut congestion = Congestion::default();
        let mut now = 0;
        for (low, high) in [
            (0.5, 2.5),
            (2.0, 10.0),
            (8.0, 40.0),
            (32.0, 160.0),
            (75.0, 375.0),
        ] {
            let mut other = Congestion {
                rate: congestion.rate,
                ..Congestion::default()
            };
            let shortest = other.refused(at(now), at(now), None, 0.0);
            let longest = congestion.refused(at(now), at(now), None, 1.0);
            assert_eq!(shortest, Duration::from_secs_f64(low));
            assert_eq!(longest, Duration::from_secs_f64(high));
            assert!(longest <= MAX_THROTTLE_PAUSE);
            assert_eq!(congestion.wait(at(now)), longest);
            now += 1000;
        }
        assert_eq!(
            congestion.refused(at(now), at(now), None, 1.0),
            MAX_THROTTLE_PAUSE
        );
    }

    #[test]
    fn calls_in_flight_together_lower_the_rate_once() {
        let mut congestion = Congestion::default();
        let pause = congestion.refused(at(0), at(1), None, 0.75);
        assert_eq!(pause, seconds(2));
        assert_eq!(congestion.refused(at(0), at(1), None, 0.0), pause);
        assert_eq!(congestion.refused(at(2), at(3), None, 0.75), seconds(8));
    }

    #[test]
    fn answered_calls_raise_the_rate_and_end_the_limit_in_time() {
        let mut congestion = Congestion::default();
        assert_eq!(congestion.refused(at(0), at(0), None, 0.75), seconds(2));
        congestion.called(at(2));
        assert_eq!(congestion.wait(at(2)), seconds(2));
        for _ in 0..30 {
            congestion.answered(at(2));
        }
        // 0.5 and 30/60 calls a second.
        assert_eq!(congestion.wait(at(2)).as_millis().div_ceil(10), 100);
        assert!(congestion.interval() <= seconds(1));
        congestion.answered(at(700));
        assert_eq!(congestion.interval(), Duration::ZERO);
        congestion.called(at(700));
        assert_eq!(congestion.wait(at(700)), Duration::ZERO);
    }

    #[test]
    fn call_without_an_answer_delays_no_other_call() {
        let mut congestion = Congestion::default();
        congestion.refused(at(0), at(0), None, 0.75);
        congestion.called(at(2));
        congestion.unanswered(at(2));
        assert_eq!(congestion.wait(at(2)), Duration::ZERO);
        let pause = congestion.refused(at(2), at(3), None, 0.75);
        congestion.unanswered(at(2));
        assert_eq!(congestion.wait(at(3)), pause);
    }

    #[test]
    fn hint_of_the_service_is_the_minimum_and_has_a_bound() {
        let mut congestion = Congestion::default();
        let pause = congestion.refused(at(0), at(0), Some(seconds(30)), 0.0);
        assert_eq!(pause, seconds(30));
        congestion.end_pause();
        assert_eq!(congestion.wait(at(0)), seconds(30));
        let day = Some(seconds(86_400));
        assert_eq!(congestion.refused(at(1), at(1), day, 1.0), seconds(66));
    }

    #[test]
    fn quota_without_a_refusal_has_no_limit() {
        let mut congestion = Congestion::default();
        for _ in 0..1000 {
            congestion.called(at(0));
            congestion.answered(at(0));
        }
        assert_eq!(congestion.wait(at(0)), Duration::ZERO);
    }
}
