//! The context of the checks.

use std::path::PathBuf;

use stsd_client::{Audit, Error, Status};

use super::daemon_user::DaemonUser;

/// The input of every check.
pub(super) struct DiagnosticContext {
    /// The socket of the daemon.
    pub(super) socket: PathBuf,
    /// `true` for the system's daemon, `false` for a user's.
    pub(super) is_system: bool,
    /// The sentence that tells the daemon from the other one on this machine, if there is one.
    pub(super) which_of_two: Option<String>,
    pub(super) status: Result<Status, Error>,
    pub(super) audit: Option<Audit>,
    /// The configuration of the daemon; an error says why its path is unknown.
    pub(super) config: Result<PathBuf, String>,
    pub(super) daemon_user: DaemonUser,
}

/// Splits `PROBLEM (hint: HINT)`, the form of stsd's messages.
pub(super) fn split_hint(line: &str) -> (&str, &str) {
    let (problem, hint) = line.rsplit_once(" (hint: ").unwrap_or((line, ""));
    (problem, hint.strip_suffix(')').unwrap_or(hint))
}
