//! The failures of requests: each with its kind on the wire, its code, a message and a hint.

use stsd_codes::Code;
use stsd_document::printable_lines;
use stsd_wire::{Failure, FailureKind};

use crate::{
    profile::Cause,
    serve::http::{ListenerState as HttpState, RotateError},
    session::snapshot::{RefreshError, SessionResult},
};

/// Maximum length of a message; the rest is cut.
const MAX_MESSAGE_BYTES: usize = 8 * 1024;

/// Returns a failure with a message and its code.
pub(super) fn failure(kind: FailureKind, code: Code, message: &str, hint: &str) -> Failure {
    let mut failure = reply(kind, message, hint);
    // After the cut: the code is never lost.
    failure.message += &format!(" [{code}]");
    failure
}

/// Returns a failure whose message has several errors with their codes. The message is cut to fit into
/// a frame.
pub(super) fn reply(kind: FailureKind, message: &str, hint: &str) -> Failure {
    // Lines are the daemon's own; the rest may be a text of STS, of a file or of the caller.
    let message = printable_lines(message);
    let start = &message[..message.floor_char_boundary(MAX_MESSAGE_BYTES)];
    let ellipsis = if start.len() < message.len() {
        " … (the daemon's log has the rest)"
    } else {
        ""
    };
    Failure {
        kind,
        message: format!("{start}{ellipsis}"),
        hint: printable_lines(hint),
    }
}

pub(super) fn not_allowed() -> Failure {
    failure(
        FailureKind::NotAllowed,
        Code::UserNotServed,
        "this daemon does not serve you",
        "run a daemon of your own; a user's daemon serves only its user",
    )
}

/// Returns the failure of a request for a URL while no URL is served.
pub(super) fn no_http(state: &HttpState) -> Failure {
    let (problem, hint) = state.problem().unwrap_or_default();
    failure(
        FailureKind::BadConfig,
        Code::HttpUnavailable,
        &problem,
        hint,
    )
}

/// Returns the failure for a profile that does not exist or that the caller may not read. The text
/// does not differ, so that it reveals no profile.
pub(super) fn no_rule() -> Failure {
    failure(
        FailureKind::NotAllowed,
        Code::NotAllowed,
        "no rule allows you a profile of that name",
        "stsctl status lists the profiles you may see; an allow rule of a profile lets you have it",
    )
}

pub(super) fn no_rule_for_http() -> Failure {
    failure(
        FailureKind::NotAllowed,
        Code::NotAllowed,
        "no rule allows you that profile by HTTP",
        "rules by group and by unit apply at the Unix sockets only: use sts-shim or stsctl exec \
         --static, or add a rule user:UID to the profile",
    )
}

pub(super) fn no_reload() -> Failure {
    failure(
        FailureKind::NotAllowed,
        Code::AdminOnly,
        "only root and the daemon's own user may reload the configuration",
        "sudo stsctl reload, or systemctl reload stsd",
    )
}

/// Returns the failure of a rotation.
pub(super) fn rotation_failed(error: &RotateError) -> Failure {
    failure(
        FailureKind::BadConfig,
        Code::RotationFailed,
        &error.to_string(),
        error.hint(),
    )
}

pub(super) fn no_rotation() -> Failure {
    failure(
        FailureKind::NotAllowed,
        Code::AdminOnly,
        "only root and the daemon's own user may change the URLs",
        "sudo stsctl url --rotate",
    )
}

pub(super) fn shutting_down() -> Failure {
    failure(
        FailureKind::Busy,
        Code::DaemonStopping,
        "the daemon is stopping",
        "try again in a moment; the daemon may be restarting",
    )
}

pub(super) fn lease_ended() -> Failure {
    failure(
        FailureKind::NotAllowed,
        Code::LeaseEnded,
        "the lease of this socket has ended",
        "open another lease with stsctl lease",
    )
}

pub(super) fn not_on_lease() -> Failure {
    failure(
        FailureKind::NotAllowed,
        Code::LeaseRefused,
        "the socket of a lease serves only credentials",
        "use the daemon's own socket",
    )
}

/// Returns the failure of a lease that must be opened again.
pub(super) fn lease_changed() -> Failure {
    failure(
        FailureKind::Busy,
        Code::ProfileChanged,
        "the configuration of the leased profile has changed",
        "open the lease again",
    )
}

pub(super) fn too_many_leases() -> Failure {
    failure(
        FailureKind::Busy,
        Code::TooManyLeases,
        "this user holds too many leases, or has opened too many within a minute",
        "end some of the running stsctl lease commands, or wait a minute",
    )
}

pub(super) fn too_many_calls() -> Failure {
    failure(
        FailureKind::Throttled,
        Code::TooManyCalls,
        "this user, or all users together, have caused too many calls to STS",
        "wait some seconds; the daemon renews sessions without a request",
    )
}

pub(super) fn lease_without_a_socket() -> Failure {
    failure(
        FailureKind::Malformed,
        Code::LeaseRefused,
        "the socket of the lease does not listen any more",
        "do not shut down or change the socket after it was passed",
    )
}

pub(super) fn too_many_connections() -> Failure {
    failure(
        FailureKind::Busy,
        Code::DaemonBusy,
        "too many callers wait for an answer",
        "try again in a moment; stsctl status shows the profiles that have no session",
    )
}

pub(super) fn idle_evicted() -> Failure {
    failure(
        FailureKind::Busy,
        Code::DaemonBusy,
        "this connection was idle longest, and the limit of connections was reached",
        "try again on a new connection",
    )
}

pub(super) fn displaced() -> Failure {
    failure(
        FailureKind::Busy,
        Code::DaemonBusy,
        "the limit of connections was reached, and this user holds more of them than another user",
        "try again in a moment, with fewer connections",
    )
}

pub(super) fn buffers_full() -> Failure {
    failure(
        FailureKind::Busy,
        Code::DaemonBusy,
        "unfinished requests and unread replies have used up their memory",
        "send each request in one write, and read its reply",
    )
}

pub(super) fn too_many_waiting() -> Failure {
    failure(
        FailureKind::Busy,
        Code::DaemonBusy,
        "too many callers wait for profiles or watch profiles by the same rule, or this user holds \
         256 watches",
        "share one watch between the threads of a program, or try again in a moment",
    )
}

pub(super) fn unknown_profile(name: &str) -> Failure {
    // The peer chose the name: the message has at most 64 characters of it, no control characters.
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    failure(
        FailureKind::UnknownProfile,
        Code::UnknownProfile,
        &format!("no profile is named {name:?}"),
        "stsctl status lists the profiles; stsctl reload reads a changed configuration",
    )
}

/// Returns the failure for a result without a session.
pub(super) fn result_failure(result: &SessionResult) -> Failure {
    let (kind, code, message, hint) = match result {
        SessionResult::Failed(failed) => return self::refresh_failure(failed),
        SessionResult::Removed => (
            FailureKind::Busy,
            Code::ProfileChanged,
            "a reload has changed the profile meanwhile".to_owned(),
            "try again",
        ),
        SessionResult::NotAllowed => return no_rule(),
        SessionResult::NotYet(reason) => (
            FailureKind::NotYetAvailable,
            Code::NotYetAvailable,
            format!("no credentials yet: {reason}"),
            "try again, with more --patience",
        ),
        SessionResult::Ready(_) | SessionResult::Short(_) => (
            FailureKind::NotYetAvailable,
            Code::NotYetAvailable,
            "the renewal has not ended yet".to_owned(),
            "try again, with more --patience",
        ),
    };
    failure(kind, code, &message, hint)
}

/// Returns the failure for a failed renewal.
pub(super) fn refresh_failure(failed: &RefreshError) -> Failure {
    let kind = match failed.cause {
        Cause::Denied => FailureKind::DeniedBySts,
        Cause::Unreachable => FailureKind::Unreachable,
        Cause::Throttled => FailureKind::Throttled,
        Cause::Source => FailureKind::NotYetAvailable,
    };
    failure(kind, failed.code, &failed.message, &failed.hint)
}
