//! The time and the condition of a profile's next attempt.

use std::time::Duration;

use crate::{
    refresh::schedule,
    runtime::clock::{BootTime, Clock},
    session::profile_entry::ProfileEntry,
};

/// The condition of the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schedule {
    /// A request.
    OnDemand,
    /// A time, or an earlier request for a longer remaining lifetime.
    At(BootTime),
    /// The time of the first attempt without a request, spread over the machines of a fleet; or an
    /// earlier request.
    Spread(BootTime),
    /// The end of a back-off, which a request does not end; only `stsctl refresh` does.
    BackoffUntil {
        /// The end if a caller waits for a session.
        with_caller: BootTime,
        /// The end if no caller waits: the same, or later for a machine of a fleet.
        at: BootTime,
    },
}

impl Schedule {
    /// Returns the first schedule of a task. `spread` is the time over which a fleet spreads its
    /// calls.
    pub(super) fn first(
        entry: &ProfileEntry,
        clock: &dyn Clock,
        jitter: f64,
        spread: Duration,
    ) -> Self {
        match entry.snapshot().session {
            Some(session) if session.is_final => Self::OnDemand,
            Some(session) => Self::At(schedule::renewal_due(&session.lifetime, jitter)),
            None if !entry.profile.is_kept_warm() => Self::OnDemand,
            // A session that is passed through costs no call to STS.
            None if spread.is_zero() || entry.profile.role_arn.is_none() => Self::At(clock.boot()),
            None => Self::Spread(clock.boot() + spread.mul_f64(jitter)),
        }
    }

    /// Returns the time of the next attempt and its reason, as `stsctl status` shows them.
    pub(super) fn plan(self, refused: bool) -> Option<(BootTime, &'static str)> {
        match self {
            Self::OnDemand => None,
            Self::At(at) => Some((at, "renewal near half of the session's lifetime")),
            Self::Spread(at) => Some((at, "first renewal, spread over the fleet, or a request")),
            Self::BackoffUntil { at, .. } if refused => Some((at, "retry after a refusal by STS")),
            Self::BackoffUntil { at, .. } => Some((at, "retry after a failure")),
        }
    }

    /// Returns the time of the next attempt, and `true` if a request may cause an earlier one.
    pub(super) fn due(self, has_caller: bool, now: BootTime) -> (Option<BootTime>, bool) {
        match self {
            Self::OnDemand => (None, true),
            Self::At(at) | Self::Spread(at) => (Some(at), true),
            Self::BackoffUntil { with_caller, .. } if has_caller => (Some(with_caller), false),
            Self::BackoffUntil { with_caller, at } => (Some(at), with_caller <= now),
        }
    }

    /// Returns `true` if the time of the attempt has passed.
    pub(super) fn is_due(self, now: BootTime) -> bool {
        let (at, _) = self.due(false, now);
        at.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{profile::Profile, runtime::clock::SystemClock, session::snapshot::Session};

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn first_call_without_a_request_is_spread_over_the_fleet() {
        let clock = SystemClock::default();
        let first = |profile: Profile, spread| {
            let entry = ProfileEntry::new(Arc::new(profile));
            let now = clock.boot();
            match Schedule::first(&entry, &clock, 0.5, spread) {
                Schedule::OnDemand => None,
                schedule => Some(schedule.due(false, now).0.unwrap().since(now).as_secs() / 60),
            }
        };
        let warm = || Profile {
            keep_warm: true,
            ..Profile::sample()
        };
        assert_eq!(first(warm(), Duration::ZERO), Some(0));
        assert_eq!(first(warm(), 20 * MINUTE + MINUTE / 2), Some(10));
        let passed_through = Profile {
            role_arn: None,
            ..warm()
        };
        assert_eq!(first(passed_through, 20 * MINUTE), Some(0));
        assert_eq!(first(Profile::sample(), 20 * MINUTE), None);
    }

    #[test]
    fn saved_session_needs_no_first_call() {
        let clock = SystemClock::default();
        let profile = Arc::new(Profile {
            keep_warm: true,
            ..Profile::sample()
        });
        let entry = ProfileEntry::from_saved(profile, Session::sample(), BootTime::default());
        let due = schedule::renewal_due(&Session::sample().lifetime, 0.5);
        let first = Schedule::first(&entry, &clock, 0.5, 20 * MINUTE);
        assert_eq!(first, Schedule::At(due));
    }

    #[test]
    fn caller_shortens_the_back_off_of_a_fleet_to_its_own() {
        let at = |minutes: u32| BootTime::default() + MINUTE * minutes;
        let schedule = Schedule::BackoffUntil {
            with_caller: at(1),
            at: at(17),
        };
        assert_eq!(schedule.due(true, at(0)), (Some(at(1)), false));
        assert_eq!(schedule.due(false, at(0)), (Some(at(17)), false));
        assert_eq!(schedule.due(false, at(1)), (Some(at(17)), true));
    }
}
