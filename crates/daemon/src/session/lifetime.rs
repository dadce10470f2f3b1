//! The lifetime of a session, on the boot-time clock.

use std::time::Duration;

use crate::runtime::clock::BootTime;

/// The beginning and the end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// The time of the request.
    pub began: BootTime,
    /// The time from which the session must not be used.
    pub ends: BootTime,
}

impl Lifetime {
    /// Returns the remaining lifetime.
    #[must_use]
    pub fn remaining(&self, now: BootTime) -> Duration {
        self.ends.since(now)
    }

    /// Returns the whole lifetime.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.ends.since(self.began)
    }

    /// Returns `true` if the session has not ended and is valid for at least `minimum_life`.
    #[must_use]
    pub fn satisfies(&self, minimum_life: Duration, now: BootTime) -> bool {
        let remaining = self.remaining(now);
        remaining > Duration::ZERO && remaining >= minimum_life
    }

    /// Returns `true` if a renewal would noticeably prolong the remaining lifetime. Without this
    /// check, each caller with the whole lifetime as its minimum would cost a call.
    #[must_use]
    pub fn is_worth_renewing(&self, now: BootTime) -> bool {
        now.since(self.began) >= self.length() / 10
    }
}
