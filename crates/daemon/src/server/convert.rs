//! Decides how what we know is said on the wire, by hand, so that neither side's types
//! follow the other's.

use std::sync::{Arc, atomic::Ordering};

use stsd_wire::{
    Credentials, Failure, FailureKind, FrameError, LastFailure, Message as _, ProfileStatus, Reply,
    Status, VERSION,
};

use super::Service;
use crate::{
    clock::BootTime,
    store::{Cause, Entry, Failed, Prepared, Session},
};

/// The longest message that is sent, in bytes.
const LONGEST_MESSAGE: usize = 8 * 1024;

pub(super) fn failure(kind: FailureKind, message: &str, hint: &str) -> Failure {
    // A frame has a bound, and a human has one too.
    let shown = &message[..message.floor_char_boundary(LONGEST_MESSAGE)];
    let cut = if shown.len() < message.len() {
        " … (the daemon's log has the rest)"
    } else {
        ""
    };
    Failure {
        kind,
        message: format!("{shown}{cut}"),
        hint: hint.to_owned(),
    }
}

pub(super) fn not_allowed() -> Failure {
    failure(
        FailureKind::NotAllowed,
        "this daemon does not serve you",
        "run a daemon of your own; a user's daemon serves its user alone",
    )
}

pub(super) fn no_credentials_allowed() -> Failure {
    failure(
        FailureKind::NotAllowed,
        "no rule allows you these credentials",
        "a system daemon serves nobody without a rule",
    )
}

pub(super) fn unknown_profile(name: &str) -> Failure {
    // A name comes from a peer: it goes back to that peer, short and harmless.
    let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    failure(
        FailureKind::UnknownProfile,
        &format!("no profile is named {shown:?}"),
        "stsctl status lists the profiles; stsctl reload reads a changed configuration",
    )
}

pub(super) fn not_yet() -> Failure {
    failure(
        FailureKind::NotYetAvailable,
        "no credentials yet: the first renewal is still under way",
        "ask again, with more patience",
    )
}

pub(super) fn failed(failed: &Failed) -> Failure {
    let kind = match failed.cause {
        Cause::Denied => FailureKind::DeniedBySts,
        Cause::Unreachable => FailureKind::Unreachable,
        Cause::Throttled => FailureKind::Throttled,
    };
    failure(kind, &failed.message, &failed.hint)
}

pub(super) fn credentials(session: &Session) -> Credentials {
    Credentials {
        access_key_id: session.access_key_id.clone(),
        access_key_secret: session.access_key_secret.clone(),
        security_token: session.security_token.clone(),
        expiration_unix_seconds: session.expiration.as_second(),
        issued_unix_seconds: session.issued.as_second(),
    }
}

/// Returns the answer for a session, Hello first; made once a session. A session whose
/// answer does not fit into a frame is a failure of whoever issued it.
pub(super) fn prepared(session: &Session) -> Result<&[u8], FrameError> {
    if let Some(prepared) = session.prepared.get() {
        return Ok(&prepared.0);
    }
    let reply = Reply::Credentials(credentials(session)).frame()?;
    let hello = Reply::Hello { version: VERSION }.frame()?;
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(hello.len() + reply.len()));
    bytes.extend_from_slice(&hello);
    bytes.extend_from_slice(&reply);
    Ok(&session.prepared.get_or_init(|| Prepared(bytes)).0)
}

pub(super) fn status(service: &Service) -> Status {
    let now = service.clock.boot();
    Status {
        daemon_version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_seconds: now.since(service.started).as_secs(),
        config_path: service.config_path.clone(),
        profiles: service
            .store
            .all()
            .iter()
            .map(|it| profile_status(it, now))
            .collect(),
    }
}

fn profile_status(entry: &Arc<Entry>, now: BootTime) -> ProfileStatus {
    let snapshot = entry.snapshot();
    let living = snapshot.serving(std::time::Duration::ZERO, now);
    let (due, reason) = match snapshot.next_attempt {
        Some((at, reason)) => (Some(at.since(now).as_secs()), reason),
        None => (None, "when somebody asks"),
    };
    ProfileStatus {
        name: entry.profile.name.as_str().to_owned(),
        role_arn: entry.profile.role_arn.as_str().to_owned(),
        access_key_id: living.map(|it| it.access_key_id.clone()),
        expiration_unix_seconds: living.map(|it| it.expiration.as_second()),
        remaining_seconds: living.map(|it| it.lifetime.remaining(now).as_secs()),
        lifetime_seconds: living.map(|it| it.lifetime.length().as_secs()),
        next_attempt_seconds: due,
        next_attempt_reason: reason.to_owned(),
        last_failure: snapshot.failed.as_ref().map(|it| LastFailure {
            failure: failed(it),
            age_seconds: now.since(it.at).as_secs(),
        }),
        sts_calls: entry.sts_calls.load(Ordering::Relaxed),
        sts_failures: entry.sts_failures.load(Ordering::Relaxed),
        hand_outs: entry.hand_outs(),
    }
}
