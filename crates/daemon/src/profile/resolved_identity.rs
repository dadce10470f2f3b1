//! A resolved identity and its expiration.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use stsd_sts::Proof;

use super::SessionDuration;
use crate::runtime::clock::{BootTime, Clock};

/// The resolution of an HTTP `Date` header.
const DATE_RESOLUTION: Duration = Duration::from_secs(1);

/// The result of an identity provider.
#[derive(Debug, Clone)]
pub struct ResolvedIdentity {
    /// The proof for STS, or the credentials that are passed through.
    pub proof: Arc<Proof>,
    /// The time before the resolution.
    pub asked: BootTime,
    /// The expiration; `None` for a long-lived key and for a token, whose expiration only STS
    /// checks.
    pub end: Option<Expiry>,
}

/// The expiration of temporary credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// The expiration on the issuer's clock.
    pub expiration: Timestamp,
    /// The time of the response on the issuer's clock.
    pub issued: Timestamp,
    /// The expiration on the boot-time clock.
    pub at: BootTime,
}

impl ResolvedIdentity {
    /// Returns `true` in the first half of the lifetime.
    pub(super) fn is_fresh(&self, now: BootTime) -> bool {
        self.end
            .is_some_and(|end| end.at.since(now) > end.at.since(self.asked) / 2)
    }

    /// Returns `true` if the identity can sign another call, as far as is known.
    #[must_use]
    pub fn is_usable(&self, now: BootTime) -> bool {
        match (self.end, &*self.proof) {
            (Some(end), _) => end.at.since(now) > signing_margin(end.at.since(self.asked)),
            (None, proof) => matches!(proof, Proof::Credentials(_)),
        }
    }
}

/// Returns the minimum remaining lifetime of credentials that sign a call, for credentials with
/// this whole lifetime. A call takes 10 s at most.
pub(crate) fn signing_margin(lifetime: Duration) -> Duration {
    (lifetime / 4).min(Duration::from_secs(15))
}

impl Expiry {
    /// Returns an expiration on the boot-time clock. `date` is the issuer's clock in the response,
    /// if the response has one. The lifetime counts from `asked`, a time before the request, so
    /// that it is never too long.
    #[must_use]
    pub fn new(
        expiration: Timestamp,
        date: Option<Timestamp>,
        asked: BootTime,
        clock: &dyn Clock,
    ) -> Self {
        // Without a date, both local clocks are read now, however long the response took.
        let (issued, since, lost) = match date {
            Some(date) => (date, asked, DATE_RESOLUTION),
            None => (clock.wall(), clock.boot(), Duration::ZERO),
        };
        let life = expiration.duration_since(issued);
        let life = Duration::try_from(life).unwrap_or_default();
        let at = since + life.saturating_sub(lost).min(SessionDuration::MAX);
        Self {
            expiration,
            issued,
            // A longer claim only means an earlier resolution, which does no harm.
            at: at.min(asked + SessionDuration::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::SystemClock;

    #[test]
    fn expiry_is_at_most_the_longest_session_after_the_request() {
        let clock = SystemClock::default();
        let asked = clock.boot();
        let check = |expiration, date, expected: u64| {
            let end = Expiry::new(expiration, Some(date), asked, &clock);
            assert_eq!(end.at.since(asked).as_secs(), expected);
        };
        let noon = Timestamp::constant(1_795_003_200, 0);
        let hours = jiff::SignedDuration::from_hours;
        // A `Date` is rounded down by up to a second.
        check(noon + hours(6), noon, 6 * 3600 - 1);
        check(noon + hours(24), noon, 12 * 3600);
        check(Timestamp::MAX, noon, 12 * 3600);
        check(noon, noon + hours(1), 0);
        check(Timestamp::MIN, Timestamp::MAX, 0);
    }
}
