//! The quotas of STS that this daemon uses: one for each region and API, with the queues of the calls
//! that wait for it. Throttling of one API delays no call of another one.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use stsd_sts::Proof;
use tokio::sync::{Notify, Semaphore};

use crate::{
    runtime::{
        clock::{BootTime, Clock},
        sync::lock,
    },
    sts::{congestion::Congestion, rate_limit::Priority},
};

/// Minimum and maximum time between two looks of a background call whether interactive ones still
/// wait.
const YIELD_TIME: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A call in flight. Dropped without an answer of STS, as at the end of its task, it delays no other
/// call.
pub(super) struct CallInFlight<'a> {
    pub quota: &'a Quota,
    pub sent: BootTime,
    pub is_answered: bool,
}

/// The APIs of STS with a quota of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// AssumeRole.
    AssumeRole,
    /// AssumeRoleWithOIDC.
    AssumeRoleWithOidc,
    /// AssumeRoleWithSAML.
    AssumeRoleWithSaml,
}

/// One quota: its state and its queues.
pub struct Quota {
    congestion: Mutex<Congestion>,
    /// Notified when the pause has become shorter.
    shortened: Notify,
    /// The head of the queue of interactive calls; a semaphore is fair.
    interactive: Semaphore,
    /// The head of the queue of background calls.
    background: Semaphore,
}

impl Api {
    /// All APIs, in the order of their numbers.
    pub const ALL: [Self; 3] = [
        Self::AssumeRole,
        Self::AssumeRoleWithOidc,
        Self::AssumeRoleWithSaml,
    ];
}

impl From<&Proof> for Api {
    fn from(proof: &Proof) -> Self {
        match proof {
            Proof::Credentials(_) => Self::AssumeRole,
            Proof::Oidc { .. } => Self::AssumeRoleWithOidc,
            Proof::Saml { .. } => Self::AssumeRoleWithSaml,
        }
    }
}

impl Quota {
    /// Lowers the rate after a refusal, and returns the pause until the next call.
    pub fn refused(&self, sent: BootTime, now: BootTime, hint: Option<Duration>) -> Duration {
        let random = fastrand::f64();
        self.congestion().refused(sent, now, hint, random)
    }

    /// Raises the rate after an answer that is no throttling.
    pub fn answered(&self, now: BootTime) {
        self.congestion().answered(now);
        self.shortened.notify_waiters();
    }

    /// Ends the pause after a refusal, not the one that STS has asked for.
    pub fn end_pause(&self) {
        self.congestion().end_pause();
        self.shortened.notify_waiters();
    }

    /// Returns the time until the next call.
    #[must_use]
    pub fn wait(&self, now: BootTime) -> Duration {
        self.congestion().wait(now)
    }

    /// Waits until the quota may be called. The caller holds the permit of its priority's queue.
    pub(super) async fn opened(&self, priority: Priority, clock: &dyn Clock) {
        loop {
            // Created before the look, so that no notification is lost.
            let shortened = self.shortened.notified();
            let (wait, interval) = {
                let congestion = self.congestion();
                (congestion.wait(clock.boot()), congestion.interval())
            };
            let yields = priority == Priority::Background
                && !interval.is_zero()
                && self.interactive.available_permits() == 0;
            let wait = match yields {
                true => wait.max(interval.clamp(YIELD_TIME.0, YIELD_TIME.1)),
                false if wait.is_zero() => return,
                false => wait,
            };
            tokio::select! {
                () = clock.sleep_at_most(wait) => {}
                () = shortened => {}
            }
        }
    }

    pub(super) fn queue(&self, priority: Priority) -> &Semaphore {
        match priority {
            Priority::Interactive => &self.interactive,
            Priority::Background => &self.background,
        }
    }

    pub(super) fn congestion(&self) -> MutexGuard<'_, Congestion> {
        lock(&self.congestion)
    }
}

impl Drop for CallInFlight<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.quota.congestion().unanswered(self.sent);
            self.quota.shortened.notify_waiters();
        }
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            congestion: Mutex::default(),
            shortened: Notify::new(),
            interactive: Semaphore::new(1),
            background: Semaphore::new(1),
        }
    }
}

/// Returns the region of an endpoint with the host `authority`; the public endpoint of a region and the
/// one inside its private network share a quota. An endpoint of another form is a region of its own.
#[must_use]
pub fn region(authority: &str) -> &str {
    let host = authority
        .split_once(':')
        .map_or(authority, |(host, _)| host);
    let name = host.strip_suffix(".aliyuncs.com");
    let region = name.and_then(|it| {
        it.strip_prefix("sts-vpc.")
            .or_else(|| it.strip_prefix("sts."))
    });
    region.unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_of_one_region_share_a_quota() {
        let check = |authority, expected| assert_eq!(region(authority), expected, "{authority}");
        check("sts.cn-hongkong.aliyuncs.com", "cn-hongkong");
        check("sts-vpc.cn-hongkong.aliyuncs.com", "cn-hongkong");
        check("sts.cn-hongkong.aliyuncs.com:443", "cn-hongkong");
        check("sts.aliyuncs.com", "sts.aliyuncs.com");
        check("127.0.0.1:4000", "127.0.0.1:4000");
    }
}
