//! Conversions of domain types to wire types, written by hand: a change of a domain type must not
//! change the wire format.

use std::{net::SocketAddr, sync::Arc};

use stsd_document::printable_lines;
use stsd_secret::SecretBytes;
use stsd_wire::{
    Audit, Condition, Conditions, Credentials, FailureCount, FrameError, HttpListener, LastCaller,
    LastFailure, ListenerState, Message as _, Problem, ProfileStatus, Protection, Reply,
    SecretText, Status, Url, VERSION,
};

use super::failures;
use crate::{
    access::peer::Units,
    audit,
    profile::Profile,
    runtime::{clock::BootTime, conditions, protection_report},
    serve::{
        context::ServerContext,
        http::{HttpEndpoint, ListenerState as HttpState},
    },
    session::{last_access::LastAccess, profile_entry::ProfileEntry, snapshot::Session},
};

/// Maximum text in one part of a status: the length of a frame less the longest message and the
/// numbers.
const MAX_PART_BYTES: usize = 48 * 1024;

/// Maximum length of a message, and of a hint, of one condition.
const MAX_CONDITION_BYTES: usize = 2 * 1024;

/// Returns the URL of a profile. The URL contains the secret, because most SDKs cannot send a
/// header.
pub(super) fn url(address: SocketAddr, secret: &SecretText, profile: &str) -> Url {
    // Large enough from the start: a text that grows leaves copies behind.
    let mut url = String::with_capacity(64 + secret.expose().len() + profile.len());
    for part in [
        "http://",
        &address.to_string(),
        "/",
        secret.expose(),
        "/",
        profile,
    ] {
        url.push_str(part);
    }
    Url {
        url: url.into(),
        token: secret.clone(),
    }
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

/// Encodes the reply of a session before it is published, and moves the secrets of the session into
/// it: a profile then has one locked page of secrets.
pub(crate) fn encode_reply(session: &mut Session) {
    let Ok(frames) = frames(session) else {
        return;
    };
    let frames = Arc::clone(frames);
    session.access_key_secret.move_into(&frames);
    session.security_token.move_into(&frames);
}

/// Returns the encoded reply of a session, with the Hello before it; encoded once for each session.
///
/// # Errors
/// The session does not fit into a frame.
pub(super) fn encoded(session: &Session) -> Result<&[u8], FrameError> {
    frames(session).map(|it| it.expose())
}

fn frames(session: &Session) -> Result<&Arc<SecretBytes>, FrameError> {
    if let Some(frames) = session.answers.frames.get() {
        return Ok(frames);
    }
    let reply = Reply::Credentials(credentials(session)).frame()?;
    let hello = Reply::Hello { version: VERSION }.frame()?;
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(hello.len() + reply.len()));
    bytes.extend_from_slice(&hello);
    bytes.extend_from_slice(&reply);
    let frames = || Arc::new(bytes[..].into());
    Ok(session.answers.frames.get_or_init(frames))
}

/// Returns the status of the daemon, with the visible profiles after a name, as many as fit.
pub(in crate::serve) fn status(
    context: &ServerContext,
    after: &str,
    is_visible: impl Fn(&Profile) -> bool,
) -> Status {
    let now = context.clock.boot();
    let mut profiles = Vec::new();
    let mut left = MAX_PART_BYTES;
    let mut more = false;
    for entry in context.store.all() {
        if entry.profile.name.as_str() <= after || !is_visible(&entry.profile) {
            continue;
        }
        let profile = profile_status(&entry, now);
        let size = max_encoded_bytes(&profile);
        if size > left {
            more = true;
            break;
        }
        left -= size;
        profiles.push(profile);
    }
    let Some(state) = &context.status else {
        return lease_status(profiles);
    };
    Status {
        daemon_version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_seconds: now.since(state.started).as_secs(),
        config_path: state.config_path.clone(),
        held_back_calls: (state.deferred_calls)(),
        http_address: context.http.address().map(|it| it.to_string()),
        http_refusals: rejections(context),
        protections: state
            .protections
            .iter()
            .chain(&[
                protection_report::tracing(),
                state.secret_pages.inspect(now),
            ])
            .map(protection)
            .collect(),
        profiles,
        more,
    }
}

/// Returns the conditions of the daemon.
pub(in crate::serve) fn conditions(all: &conditions::Conditions, now: BootTime) -> Conditions {
    let converted = all.all().into_iter().map(|(condition, problem)| {
        let problem = problem.as_ref();
        let text = |it: Option<&str>| cut(&printable_lines(it.unwrap_or_default())).to_owned();
        let note = all.note(condition);
        let message = problem.map_or(note.as_deref(), |it| Some(it.message.as_str()));
        Condition {
            name: condition.name().to_owned(),
            holds: problem.is_none(),
            message: text(message),
            hint: text(problem.map(|it| it.hint.as_str())),
            age_seconds: problem.map_or(0, |it| now.since(it.since).as_secs()),
        }
    });
    Conditions {
        conditions: converted.collect(),
    }
}

/// Returns the beginning of a text that fits into a frame with those of the other conditions.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_CONDITION_BYTES)]
}

/// Returns the state of the HTTP endpoint.
pub(in crate::serve) fn http_listener(http: &HttpEndpoint) -> HttpListener {
    let state = http.state();
    let (address, wire_state, holder_uid) = match &state {
        HttpState::NotConfigured => (None, ListenerState::NotConfigured, None),
        HttpState::Listening(address) => (Some(address), ListenerState::Listening, None),
        HttpState::PortTaken { address, holder } => (Some(address), ListenerState::Taken, *holder),
        HttpState::Failed { address, .. } => (Some(address), ListenerState::Failed, None),
    };
    let mut problems = Vec::new();
    if state != HttpState::NotConfigured {
        problems.extend(state.problem());
        problems.extend(http.remarks());
    }
    let problem = |(message, hint): (String, &str)| Problem {
        message,
        hint: hint.to_owned(),
    };
    HttpListener {
        address: address.map(ToString::to_string),
        state: wire_state,
        holder_uid,
        problems: problems.into_iter().map(problem).collect(),
    }
}

/// Returns the status at the socket of a lease: its profile, and nothing of the daemon.
fn lease_status(profiles: Vec<ProfileStatus>) -> Status {
    Status {
        daemon_version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: 0,
        uptime_seconds: 0,
        config_path: String::new(),
        held_back_calls: 0,
        http_address: None,
        http_refusals: Vec::new(),
        protections: Vec::new(),
        profiles,
        more: false,
    }
}

/// Returns the visible last accesses to the profiles after a name, as many as fit.
pub(super) fn last_callers(
    context: &ServerContext,
    after: &str,
    is_visible: impl Fn(&ProfileEntry, &LastAccess) -> bool,
) -> Audit {
    let now = context.clock.boot();
    let mut audit = Audit::default();
    let mut left = MAX_PART_BYTES;
    for entry in context.store.all() {
        if entry.profile.name.as_str() <= after {
            continue;
        }
        let Some(access) = entry
            .stats
            .last_access
            .get()
            .filter(|it| is_visible(&entry, it))
        else {
            continue;
        };
        let access = last_caller(&entry, &access, now);
        let texts = [&access.unit, &access.user_unit, &access.exe];
        let texts = texts.into_iter().flatten().map(String::len);
        let size = 100 + access.profile.len() + texts.sum::<usize>();
        if size > left {
            audit.more = true;
            break;
        }
        left -= size;
        audit.callers.push(access);
    }
    audit
}

fn last_caller(entry: &ProfileEntry, access: &LastAccess, now: BootTime) -> LastCaller {
    let process = access.process.as_deref();
    let text = |text: &Option<Box<str>>| text.as_deref().map(audit::sanitize);
    LastCaller {
        profile: entry.profile.name.as_str().to_owned(),
        asked: access.asked.name().to_owned(),
        uid: access.uid,
        pid: access.pid.map(i32::cast_unsigned),
        unit: process.and_then(|it| text(&it.units.system)),
        user_unit: process.and_then(|it| text(&it.units.user)),
        exe: process.and_then(|it| text(&it.executable)),
        age_seconds: now.since(access.at).as_secs(),
    }
}

/// Adds the destinations of the audit: file, journal and units.
pub(super) fn add_audit_destinations(audit: &mut Audit, context: &ServerContext) {
    audit.file = context.audit.file().map(|it| it.display().to_string());
    audit.in_journal = context.status.as_ref().is_some_and(|it| it.in_journal);
    let units = Units::own();
    audit.unit = units.system.map(Into::into);
    audit.user_unit = units.user.map(Into::into);
}

fn rejections(context: &ServerContext) -> Vec<FailureCount> {
    let rejections = context.http.rejections().into_iter();
    let count = |(kind, count): (&str, u64)| FailureCount {
        kind: kind.to_owned(),
        count,
    };
    rejections.map(count).collect()
}

fn protection(it: &protection_report::Protection) -> Protection {
    Protection {
        name: it.name.to_owned(),
        holds: it.holds,
        remark: it.remark.clone(),
    }
}

/// Returns an upper bound of the encoded length of a profile.
fn max_encoded_bytes(profile: &ProfileStatus) -> usize {
    const FIXED_BYTES: usize = 400;
    let failure = profile.last_failure.as_ref().map(|it| &it.failure);
    FIXED_BYTES
        + profile.name.len()
        + profile.role_arn.len()
        + profile.next_attempt_reason.len()
        + profile.access_key_id.as_ref().map_or(0, String::len)
        + profile.advice.as_ref().map_or(0, String::len)
        + failure.map_or(0, |it| it.message.len() + it.hint.len())
}

fn profile_status(entry: &ProfileEntry, now: BootTime) -> ProfileStatus {
    let snapshot = entry.snapshot();
    let usable = snapshot.usable_for(std::time::Duration::ZERO, now);
    let (due, reason) = match snapshot.next_attempt {
        Some((at, reason)) => (Some(at.since(now).as_secs()), reason),
        None => (None, "when a caller asks"),
    };
    let (renewals, renewal_millis_total, renewal_millis_last) = entry.stats.counters.renewals();
    let count = |(kind, count): (&str, u64)| FailureCount {
        kind: kind.to_owned(),
        count,
    };
    let role_arn = entry.profile.role_arn.as_ref();
    ProfileStatus {
        name: entry.profile.name.as_str().to_owned(),
        role_arn: role_arn.map_or_else(String::new, |it| it.as_str().to_owned()),
        access_key_id: usable.map(|it| it.access_key_id.clone()),
        expiration_unix_seconds: usable.map(|it| it.expiration.as_second()),
        remaining_seconds: usable.map(|it| it.lifetime.remaining(now).as_secs()),
        lifetime_seconds: usable.map(|it| it.lifetime.length().as_secs()),
        next_attempt_seconds: due,
        next_attempt_reason: reason.to_owned(),
        last_failure: snapshot.failed.as_ref().map(|it| LastFailure {
            failure: failures::refresh_failure(it),
            age_seconds: now.since(it.at).as_secs(),
            in_a_row: it.in_a_row,
        }),
        advice: snapshot.export_error.or(snapshot.advice).map(str::to_owned),
        hand_outs: entry.stats.counters.hand_outs(),
        calls_saved: entry.stats.counters.calls_saved(),
        sts_calls: entry.stats.counters.sts_calls(),
        sts_failures: entry
            .stats
            .counters
            .failures()
            .into_iter()
            .map(count)
            .collect(),
        renewals,
        renewal_millis_total,
        renewal_millis_last,
    }
}
