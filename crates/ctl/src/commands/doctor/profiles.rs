//! The state of each profile, with the daemon's hint for its last error.

use stsd_client::{ProfileStatus, Status};

use crate::report::{Finding, Severity};

pub(super) fn check(status: &Status) -> Vec<Finding> {
    status.profiles.iter().map(of).collect()
}

fn of(profile: &ProfileStatus) -> Finding {
    let what = format!("profile {}", profile.name);
    if let Some(last) = &profile.last_failure {
        let (severity, remark) = match profile.remaining_seconds {
            None => (Severity::Fault, last.failure.message.clone()),
            Some(left) => (
                Severity::Warning,
                format!("served for {left} s more, but {}", last.failure.message),
            ),
        };
        return Finding::of(severity, what, remark, &last.failure.hint);
    }
    match (&profile.advice, profile.remaining_seconds) {
        (Some(advice), _) => {
            // The fix is the last part of an advice.
            let (remark, fix) = advice.rsplit_once("; ").unwrap_or((advice, ""));
            Finding::warning(what, remark, fix)
        }
        (None, Some(left)) => Finding::ok(what, format!("served for {left} s more")),
        (None, None) => Finding::ok(what, &profile.next_attempt_reason),
    }
}
