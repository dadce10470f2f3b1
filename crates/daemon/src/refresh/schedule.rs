//! The times of the next attempts, as pure functions of sessions and times.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::{runtime::clock::BootTime, session::lifetime::Lifetime};

/// The remaining lifetime at which a renewal is due for all SDKs: the widest known renewal window is
/// the 20 minutes of ossfs, and a renewal takes time itself.
const WIDEST_WINDOW: Duration = Duration::from_secs(25 * 60);

/// The part of a lifetime that is lost before it counts: the resolution of `Date`, and the duration
/// of the call.
const SAFETY_MARGIN: Duration = Duration::from_secs(5);

/// Interval between two polls for the next passed-through session, inside the renewal window of SDKs.
const POLL_INTERVAL: Duration = Duration::from_secs(60);

/// Pause after a refusal, which only a change of the configuration or the account can lift.
const REFUSED_BACKOFF: Duration = Duration::from_secs(5 * 60);

/// The maximum of [`refused_backoff`].
pub const MAX_REFUSED_BACKOFF: Duration = Duration::from_secs(5 * 60 + 75);

/// The minimum of [`refused_backoff`] near the expiration of a session that is served.
const MIN_REFUSED_BACKOFF: Duration = Duration::from_secs(30);

/// The minimum of [`throttled_backoff`] near the expiration of a session that is served.
const MIN_THROTTLED_BACKOFF: Duration = Duration::from_secs(10);

/// Returns a number from 0 to 1 that is stable for a profile on a machine, so that neither hosts that
/// were booted together nor the profiles of one host call STS at the same time. `machine` is
/// hashed, because machine-id(5) must not be exposed.
#[must_use]
pub fn jitter(machine: &[u8], profile: &str) -> f64 {
    let hash = Sha256::new()
        .chain_update(machine)
        .chain_update([0])
        .chain_update(profile)
        .finalize();
    let (head, _) = hash.split_at(4);
    let number = head
        .iter()
        .fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    f64::from(number) / f64::from(u32::MAX)
}

/// Returns the time of a renewal: near half of the session's lifetime, with `jitter` (0 to 1, stable
/// for a host and profile), and before the renewal window of the SDKs if the session is long
/// enough.
#[must_use]
pub fn renewal_due(lifetime: &Lifetime, jitter: f64) -> BootTime {
    let length = lifetime.length();
    let spread = length.mul_f64(0.45 + 0.10 * jitter.clamp(0.0, 1.0));
    let latest = match length.checked_sub(WIDEST_WINDOW) {
        Some(latest) if length + SAFETY_MARGIN >= WIDEST_WINDOW * 2 => latest,
        _ => length,
    };
    lifetime.began + spread.min(latest)
}

/// Returns the time of the next poll after a resolution has returned the same session: at half of
/// the remaining lifetime `rest`, but no later than the start of the widest renewal window, and
/// inside the window after a minute. The issuer may have replaced the session right after the last
/// poll. `whole` is the whole lifetime of the session.
#[must_use]
pub fn poll_due(rest: &Lifetime, whole: Duration, jitter: f64) -> BootTime {
    let due = renewal_due(rest, jitter);
    if whole + SAFETY_MARGIN < WIDEST_WINDOW * 2 {
        return due;
    }
    let opens = rest.length().saturating_sub(WIDEST_WINDOW);
    due.min(rest.began + opens.max(POLL_INTERVAL))
}

/// Returns the warning about sessions of this lifetime, with the fix. A session that is shorter than
/// two renewal windows reaches the window of an SDK in any schedule.
#[must_use]
pub fn warning(asked: Duration, given: Duration) -> Option<&'static str> {
    if given + SAFETY_MARGIN >= WIDEST_WINDOW * 2 {
        return None;
    }
    Some(if given + SAFETY_MARGIN < asked {
        "STS issues sessions of less than 50 min, shorter than asked: an SDK that renews 15 or \
         20 min before the expiration sends a request at each call; check the role's maximum \
         session duration"
    } else {
        "sessions of less than 50 min are short: an SDK that renews 15 or 20 min before the \
         expiration sends a request at each call; set duration to 50m or more, within the role's \
         maximum"
    })
}

/// Returns the pause after a refusal. The pause shrinks near the expiration of the session, so that
/// a correction a minute before the expiration is in time.
#[must_use]
pub fn refused_backoff(remaining: Option<Duration>, random: f64) -> Duration {
    let pause = REFUSED_BACKOFF.mul_f64(0.75 + 0.5 * random.clamp(0.0, 1.0));
    match remaining.filter(|it| !it.is_zero()) {
        Some(remaining) => pause.min((remaining / 4).max(MIN_REFUSED_BACKOFF)),
        None => pause,
    }
}

/// Returns the pause of a profile after throttling: `pause` is that of the quota, and shrinks near
/// the expiration of the session that is served.
#[must_use]
pub fn throttled_backoff(pause: Duration, remaining: Option<Duration>) -> Duration {
    match remaining.filter(|it| !it.is_zero()) {
        Some(remaining) => pause.min((remaining / 4).max(MIN_THROTTLED_BACKOFF)),
        None => pause,
    }
}

/// Returns the pause of a machine of a fleet after the `failures`-th failure in a row, if no caller
/// waits: after some failures half of `spread` to all of it, so that the first calls after an outage of STS
/// are spread over that time. At most a quarter of the remaining lifetime of the session that is served.
#[must_use]
pub fn fleet_backoff(
    failures: u32,
    remaining: Option<Duration>,
    spread: Duration,
    random: f64,
) -> Duration {
    let grown = Duration::from_secs(1) * 4_u32.saturating_pow(failures.min(12));
    let mut longest = grown.min(spread);
    if let Some(remaining) = remaining.filter(|it| !it.is_zero()) {
        longest = longest.min(remaining / 4);
    }
    longest.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
}

/// Returns `true` if renewals of a profile may pause whose last request was `idle` ago.
#[must_use]
pub fn can_idle(idle: Duration, session_length: Duration) -> bool {
    idle > session_length * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(count * 60)
    }

    fn session(length: Duration) -> Lifetime {
        let began = BootTime::from_duration(minutes(1000));
        Lifetime {
            began,
            ends: began + length,
        }
    }

    #[test]
    fn unreplaced_session_is_polled_before_the_window_then_each_minute() {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        let check = |rest: u64, whole: u64, expected: u64| {
            let began = BootTime::from_duration(minutes(1000));
            let ends = began + minutes(rest);
            let due = poll_due(&Lifetime { began, ends }, minutes(whole), 0.5);
            let due = due.since(began).as_secs().div_ceil(60);
            assert_eq!(due, expected, "{rest} of {whole} min left");
        };
        check(180, 360, 90);
        check(60, 360, 30);
        check(40, 360, 15);
        check(30, 360, 5);
        check(25, 360, 1);
        check(10, 360, 1);
        check(1, 360, 1);
        check(0, 360, 0);
        check(20, 40, 10);
    }

    #[test]
    fn renewal_is_near_half_lifetime_and_before_any_sdk_window() {
        let check = |length: u64, jitter: f64, at_seconds: u64| {
            let session = session(minutes(length));
            let due = renewal_due(&session, jitter).since(session.began);
            let expected = Duration::from_secs(at_seconds);
            assert!(
                due.abs_diff(expected) < Duration::from_millis(1),
                "{length} min, jitter {jitter}: {due:?}"
            );
        };
        check(60, 0.0, 27 * 60);
        check(60, 0.5, 30 * 60);
        check(60, 1.0, 33 * 60);
        check(720, 1.0, 396 * 60);
        // 50 minutes: half would be 25 to 27.5, so the window cuts the spread.
        check(50, 1.0, 25 * 60);
        // Too short for the window: half of the lifetime, without a busy loop.
        check(15, 0.0, 405);
        check(15, 1.0, 495);
        check(1, 0.5, 30);
        // 50 minutes less the two seconds that a call loses.
        let session = session(minutes(50) - Duration::from_secs(2));
        let due = renewal_due(&session, 1.0);
        assert!(session.remaining(due) >= minutes(25), "{due:?}");
    }

    #[test]
    fn jitter_is_stable_and_spread_over_machines_and_profiles() {
        // SHA-256 of "a", NUL, "b" begins with 0x59b271ae.
        let expected = f64::from(0x59b2_71ae_u32) / f64::from(u32::MAX);
        assert!((jitter(b"a", "b") - expected).abs() < f64::EPSILON);
        let spread = |of: &dyn Fn(usize) -> f64| {
            let mut bins = [0; 10];
            for number in 0..1000 {
                bins[((of(number) * 10.0) as usize).min(9)] += 1;
            }
            assert!(bins.iter().all(|bin| (60..140).contains(bin)), "{bins:?}");
        };
        spread(&|number| jitter(format!("machine {number}").as_bytes(), "oss-upload"));
        spread(&|number| jitter(b"one machine", &format!("profile-{number}")));
    }

    #[test]
    fn expired_session_satisfies_no_request() {
        let session = session(minutes(60));
        let at = |minute: u64| session.began + minutes(minute);
        assert!(session.satisfies(Duration::ZERO, at(59)));
        assert!(session.satisfies(minutes(30), at(30)));
        assert!(!session.satisfies(minutes(31), at(30)));
        assert!(!session.satisfies(Duration::ZERO, at(60)));
        assert!(!session.satisfies(Duration::ZERO, at(6000)));
    }

    #[test]
    fn refused_backoff_shrinks_near_the_expiration() {
        let check = |remaining, random, expected_s: u64| {
            let pause = refused_backoff(remaining, random);
            assert_eq!(pause.as_secs(), expected_s, "{remaining:?} {random}");
            assert!(pause <= MAX_REFUSED_BACKOFF);
        };
        check(None, 0.0, 225);
        check(None, 1.0, 375);
        check(Some(Duration::ZERO), 1.0, 375);
        check(Some(minutes(60)), 1.0, 375);
        check(Some(minutes(8)), 1.0, 120);
        check(Some(minutes(1)), 1.0, 30);
    }

    #[test]
    fn throttled_backoff_shrinks_near_the_expiration() {
        let check = |pause: u64, remaining, expected: u64| {
            let backoff = throttled_backoff(Duration::from_secs(pause), remaining);
            assert_eq!(backoff.as_secs(), expected, "{pause} {remaining:?}");
        };
        check(300, None, 300);
        check(300, Some(Duration::ZERO), 300);
        check(300, Some(minutes(30)), 300);
        check(300, Some(minutes(8)), 120);
        check(300, Some(Duration::from_secs(4)), 10);
        check(5, Some(Duration::from_secs(4)), 5);
    }

    #[test]
    fn fleet_backoff_grows_to_the_spread_and_shrinks_near_the_expiration() {
        let check = |failures, remaining, spread, random, expected: u64| {
            let backoff = fleet_backoff(failures, remaining, minutes(spread), random);
            assert_eq!(backoff.as_secs(), expected, "{failures} {remaining:?}");
        };
        check(1, None, 20, 1.0, 4);
        check(3, None, 20, 1.0, 64);
        check(6, None, 20, 1.0, 1200);
        check(u32::MAX, None, 20, 0.5, 900);
        check(6, None, 0, 1.0, 0);
        check(6, Some(minutes(8)), 20, 1.0, 120);
        check(6, Some(Duration::ZERO), 20, 1.0, 1200);
    }

    #[test]
    fn request_for_the_whole_lifetime_is_not_worth_a_call_each_time() {
        let session = session(minutes(60));
        assert!(!session.is_worth_renewing(session.began + minutes(5)));
        assert!(session.is_worth_renewing(session.began + minutes(6)));
    }

    #[test]
    fn session_too_short_for_sdks_causes_a_warning_with_the_fix() {
        let check = |asked, given, expected: Option<&str>| {
            let said = warning(asked, given - Duration::from_secs(1));
            match (said, expected) {
                (Some(said), Some(words)) => assert!(said.contains(words), "{said}"),
                (said, expected) => assert_eq!(said, expected, "{asked:?} {given:?}"),
            }
        };
        check(minutes(60), minutes(60), None);
        check(minutes(50), minutes(50), None);
        check(minutes(15), minutes(15), Some("set duration to 50m"));
        check(minutes(60), minutes(15), Some("shorter than asked"));
        // Shorter than asked, and long enough for all SDKs.
        check(minutes(720), minutes(60), None);
    }
}
