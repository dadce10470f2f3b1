//! The input of every check.

use std::path::PathBuf;

use stsd_client::{Audit, Error, Status};

/// What all checks know.
pub(super) struct DiagnosticContext {
    /// Where the daemon is looked for.
    pub(super) socket: PathBuf,
    /// The machine's daemon is meant, and not a user's.
    pub(super) is_system: bool,
    pub(super) status: Result<Status, Error>,
    pub(super) audit: Option<Audit>,
}

/// Takes `PROBLEM (hint: HINT)` apart, as the daemon's program says it.
pub(super) fn split_hint(line: &str) -> (&str, &str) {
    let (problem, hint) = line.rsplit_once(" (hint: ").unwrap_or((line, ""));
    (problem, hint.strip_suffix(')').unwrap_or(hint))
}
