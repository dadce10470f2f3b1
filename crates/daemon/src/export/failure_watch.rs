//! The beginning of an outage, for `on_failure`.

use stsd_codes::Code;

use crate::{
    profile::Cause,
    runtime::clock::BootTime,
    session::snapshot::{RefreshError, Snapshot},
};

/// The number of failures in a row that are an outage, unless STS refuses: the second attempt is within a
/// second, so that one lost packet runs no command.
const OUTAGE_FAILURES: u32 = 2;

/// The failures that were seen since the last renewal.
#[derive(Debug, Default)]
pub(super) struct FailureWatch {
    /// The number of failures in a row, at the last look.
    in_a_row: u32,
    /// The outage was reported.
    is_reported: bool,
}

/// The beginning of an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    code: Code,
    /// The end of the session that callers have; `None` without one.
    ends: Option<BootTime>,
}

impl FailureWatch {
    /// Returns the outage that has begun since the last look; `None` without one.
    pub(super) fn look(&mut self, snapshot: &Snapshot) -> Option<Failure> {
        let Some(failed) = snapshot.failed.as_deref() else {
            *self = Self::default();
            return None;
        };
        if failed.in_a_row < self.in_a_row {
            // There was a renewal, which a later failure has hidden.
            self.is_reported = false;
        }
        self.in_a_row = failed.in_a_row;
        if self.is_reported || !is_outage(failed) {
            return None;
        }
        self.is_reported = true;
        let session = snapshot.session.as_ref();
        Some(Failure {
            code: failed.code,
            ends: session.map(|it| it.lifetime.ends),
        })
    }
}

impl Failure {
    /// Returns the variables of the command.
    pub(super) fn variables(self, now: BootTime) -> [(&'static str, String); 2] {
        let remaining = self.ends.map_or(0, |it| it.since(now).as_secs());
        [
            ("STSD_ERROR_CODE", self.code.name().to_owned()),
            ("STSD_REMAINING_SECONDS", remaining.to_string()),
        ]
    }
}

fn is_outage(failed: &RefreshError) -> bool {
    failed.cause == Cause::Denied || failed.in_a_row >= OUTAGE_FAILURES
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{BootTime, Cause, Code, FailureWatch, RefreshError, Snapshot};
    use crate::session::snapshot::Session;

    fn failing(cause: Cause, in_a_row: u32) -> Snapshot {
        let failed = RefreshError {
            cause,
            code: Code::SourceFailed,
            message: String::new(),
            hint: String::new(),
            at: BootTime::default(),
            in_a_row,
        };
        Snapshot {
            failed: Some(Arc::new(failed)),
            ..Snapshot::default()
        }
    }

    #[test]
    fn each_outage_is_reported_once() {
        let mut watch = FailureWatch::default();
        let mut look = |snapshot: &Snapshot| watch.look(snapshot).is_some();
        let unreachable = |in_a_row| failing(Cause::Unreachable, in_a_row);
        assert!(!look(&Snapshot::default()));
        assert!(!look(&unreachable(1)), "one failure is no outage");
        assert!(look(&unreachable(2)));
        assert!(!look(&unreachable(2)) && !look(&unreachable(3)));
        assert!(!look(&Snapshot::default()));
        assert!(look(&unreachable(4)), "after a renewal");
        assert!(look(&unreachable(2)), "after a renewal that was not seen");
        assert!(look(&failing(Cause::Denied, 1)), "a refusal is one at once");
        assert!(!look(&failing(Cause::Denied, 2)));
    }

    #[test]
    fn command_gets_the_remaining_life_of_the_session() {
        let mut snapshot = failing(Cause::Denied, 1);
        let failure = FailureWatch::default().look(&snapshot).unwrap();
        let none = ("STSD_REMAINING_SECONDS", "0".to_owned());
        assert_eq!(failure.variables(BootTime::default())[1], none);
        snapshot.session = Some(Arc::new(Session::sample()));
        let failure = FailureWatch::default().look(&snapshot).unwrap();
        let [code, left] = failure.variables(BootTime::from_millis(100_000));
        assert_eq!(code, ("STSD_ERROR_CODE", "source-failed".to_owned()));
        assert_eq!(left, ("STSD_REMAINING_SECONDS", "3500".to_owned()));
    }
}
