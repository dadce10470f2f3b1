//! The outage of a profile: one error when callers begin to be refused, and one line when they are
//! served again. The failed attempts before and meanwhile have log lines of their own.

use std::time::Duration;

use stsd_model::format_duration;
use tracing::{error, info};

use crate::{
    runtime::clock::{BootTime, Clock},
    session::{profile_entry::ProfileEntry, snapshot::Snapshot},
};

/// The failures of a profile since its last renewal.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// The first failure.
    failing_since: Option<BootTime>,
    /// The time from which callers are refused, as the log has it.
    refused_since: Option<BootTime>,
}

impl Outage {
    /// Records a failed attempt.
    pub(super) fn failed(&mut self, now: BootTime) {
        self.failing_since.get_or_insert(now);
    }

    /// Returns the time until which the task may sleep: the end of the session, if attempts have
    /// failed and the end is not logged yet.
    pub(super) fn time_to_end(&self, entry: &ProfileEntry, now: BootTime) -> Option<Duration> {
        self.failing_since?;
        let session = entry.snapshot().session?;
        let left = session.lifetime.remaining(now);
        (self.refused_since.is_none() && !left.is_zero()).then_some(left)
    }

    /// Logs an error, once, if attempts have failed and callers have no valid session.
    pub(super) fn check(&mut self, entry: &ProfileEntry, now: BootTime) {
        let snapshot = entry.snapshot();
        if self.failing_since.is_some() && !has_live_session(&snapshot, now) {
            self.begin(entry, &snapshot, now);
        }
    }

    /// Waits until the session ends that callers have during an attempt, and logs an error; pending
    /// for ever without a session.
    pub(super) async fn watch_attempt(&mut self, entry: &ProfileEntry, clock: &dyn Clock) {
        let snapshot = entry.snapshot();
        // A session that had ended before the attempt began is that of an idle profile.
        let Some(session) = snapshot.usable_for(Duration::ZERO, clock.boot()) else {
            return std::future::pending().await;
        };
        loop {
            let left = session.lifetime.remaining(clock.boot());
            if left.is_zero() {
                return self.begin(entry, &snapshot, clock.boot());
            }
            clock.sleep_at_most(left).await;
        }
    }

    /// Records a renewal; logs the end of the outage.
    pub(super) fn recovered(&mut self, entry: &ProfileEntry, failures: u32, now: BootTime) {
        if let Some(since) = self.refused_since {
            let refused_for = in_words(now.since(since));
            let profile = &entry.profile.name;
            info!(%profile, refused_for, failures, "callers are served again");
        }
        *self = Self::default();
    }

    fn begin(&mut self, entry: &ProfileEntry, snapshot: &Snapshot, now: BootTime) {
        if self.refused_since.is_some() {
            return;
        }
        self.refused_since = Some(now);
        let state = match snapshot.session {
            Some(_) => "its session has ended",
            None => "it has no session",
        };
        let failed = snapshot.failed.as_deref();
        let (reason, hint) = failed.map_or(("a renewal is under way", ""), |it| {
            (it.message.as_str(), it.hint.as_str())
        });
        let next = snapshot.next_attempt.map(|(at, _)| in_words(at.since(now)));
        let failing_for = self.failing_since.map(|it| in_words(now.since(it)));
        error!(
            profile = %entry.profile.name,
            failures = failed.map_or(0, |it| it.in_a_row),
            failing_for,
            next_attempt = next,
            hint,
            "callers are refused until a renewal succeeds: {state}: {reason}"
        );
    }
}

/// Returns a duration in words, such as `5m39s`.
pub(super) fn in_words(duration: Duration) -> String {
    match duration.as_secs() {
        0 => "less than 1s".to_owned(),
        seconds => format_duration(seconds),
    }
}

fn has_live_session(snapshot: &Snapshot, now: BootTime) -> bool {
    snapshot.usable_for(Duration::ZERO, now).is_some()
}
