//! Decides what is said of each hand-out and each refusal: one event, with who asked and
//! which renewal the credentials came from, so that it can be matched to ActionTrail.
//!
//! Events go to the log, under the target `audit`, and to a file if the configuration names
//! one. A peer that asks in a loop floods neither: beyond a burst its events are counted and
//! summed up, see `audit/rate_limit.rs`. What a peer chose (names, paths, units) is cut to a length and
//! has its control characters escaped.

mod file;
mod rate_limit;

use std::{
    os::fd::BorrowedFd,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use serde::Serialize;
use tokio::{sync::Notify, time::sleep};
use tracing::{Level, info};

pub use self::file::{AuditFile, AuditFileError};
use self::rate_limit::{Admission, AuditRateLimiter, Quota, RateKey};
use crate::{
    access::{
        Operation,
        peer::{Peer, PidBinding},
    },
    runtime::{
        clock::{BootTime, Clock},
        sync::lock,
    },
    session::snapshot::Session,
};

/// How long events are counted before they are summed up.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(10);

/// How much is shown of what a peer chose, in characters.
const MAX_FIELD_CHARS: usize = 200;

/// The caller of an operation, as the audit records it.
#[derive(Clone, Copy)]
pub struct AuditCaller<'a> {
    /// The peer.
    pub peer: &'a Peer,
    /// The connection of the peer, which binds the peer to its process.
    pub socket: BorrowedFd<'a>,
    /// The quota of the connection.
    pub quota: &'a QuotaCell,
}

/// The quota of the process of a connection, once the quota is used up: the events of a loop are then
/// counted without a lookup.
#[derive(Debug, Default)]
pub struct QuotaCell(OnceLock<Arc<Quota>>);

/// The record of served and refused operations.
pub struct Audit {
    clock: Arc<dyn Clock>,
    limit: Mutex<AuditRateLimiter>,
    file: Mutex<Option<AuditFile>>,
    /// Rings when an event was counted and not said.
    suppressed: Notify,
}

/// One event, as it stands in the file: a line of JSON.
#[derive(Default, Serialize)]
struct Event<'a> {
    decision: &'static str,
    asked: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_unit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound_by: Option<&'static str>,
    /// The number of the lease by whose socket the peer came.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    /// So many events are summed up in this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

impl Audit {
    /// Prepares an audit that goes to the log alone.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            limit: Mutex::default(),
            file: Mutex::default(),
            suppressed: Notify::new(),
        }
    }

    /// Writes to this file from now on, or to none.
    pub fn write_to(&self, file: Option<AuditFile>) {
        *lock(&self.file) = file;
    }

    /// Returns where the file is, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        lock(&self.file).as_ref().map(|it| it.path().to_owned())
    }

    /// Says that a peer is given credentials `now`; `short` when they live for less than it
    /// asked.
    pub fn served(
        &self,
        operation: Operation,
        profile: &str,
        session: &Session,
        short: bool,
        now: BootTime,
        caller: AuditCaller<'_>,
    ) {
        if !self.admits(caller, false, now) {
            return;
        }
        let remaining = session.lifetime.remaining(now);
        let event = Event {
            decision: if short { "short" } else { "ready" },
            asked: operation.name(),
            remaining_seconds: Some(remaining.as_secs()),
            access_key_id: Some(&sanitize(&session.access_key_id)),
            request_id: Some(&sanitize(&session.request_id)),
            ..Event::default()
        };
        self.emit_for_peer(event, Some(profile), caller);
    }

    /// Says that a peer opens a lease, whose first session this is.
    pub fn lease_opened(
        &self,
        (profile, lease): (&str, u32),
        session: &Session,
        caller: AuditCaller<'_>,
    ) {
        let now = self.clock.boot();
        if !self.admits(caller, false, now) {
            return;
        }
        let remaining = session.lifetime.remaining(now);
        let event = Event {
            decision: "ready",
            asked: Operation::Lease.name(),
            lease: Some(lease),
            remaining_seconds: Some(remaining.as_secs()),
            access_key_id: Some(&sanitize(&session.access_key_id)),
            request_id: Some(&sanitize(&session.request_id)),
            ..Event::default()
        };
        self.emit_for_peer(event, Some(profile), caller);
    }

    /// Says that a peer is refused something, of a profile where it named one.
    pub fn refused(&self, operation: Operation, profile: Option<&str>, caller: AuditCaller<'_>) {
        if !self.admits(caller, true, self.clock.boot()) {
            return;
        }
        let event = Event {
            decision: "refused",
            asked: operation.name(),
            ..Event::default()
        };
        self.emit_for_peer(event, profile, caller);
    }

    /// Sums up what was counted and not said, from time to time; never ends.
    pub async fn run_summaries(&self) {
        loop {
            self.suppressed.notified().await;
            sleep(SUMMARY_INTERVAL).await;
            self.flush_summary();
        }
    }

    /// Sums up what was counted and not said.
    pub fn flush_summary(&self) {
        let suppressed = lock(&self.limit).take_counts(self.clock.boot());
        for (RateKey { uid, pid, refused }, count) in suppressed {
            self.emit(&Event {
                decision: if refused { "refused" } else { "ready" },
                asked: "several",
                uid,
                pid,
                count: Some(count),
                ..Event::default()
            });
        }
    }

    /// Tells whether an event is to be said; most of the time of a busy daemon it is not,
    /// so nothing has been allocated or looked up until here.
    fn admits(&self, caller: AuditCaller<'_>, refused: bool, now: BootTime) -> bool {
        let known = caller.quota.0.get().filter(|_| !refused);
        let first = if let Some(quota) = known.filter(|it| it.is_used_up(now)) {
            quota.count()
        } else {
            if !tracing::enabled!(target: "audit", Level::INFO) && lock(&self.file).is_none() {
                return false;
            }
            let who = RateKey {
                uid: Some(caller.peer.uid),
                pid: caller.peer.pid,
                refused,
            };
            match lock(&self.limit).check(who, now) {
                Admission::Emit => return true,
                Admission::Suppress(first, quota) => {
                    if let Some(quota) = quota.filter(|_| !refused) {
                        let _ = caller.quota.0.set(quota);
                    }
                    first
                }
            }
        };
        if first {
            self.suppressed.notify_one();
        }
        false
    }

    fn emit_for_peer(&self, event: Event<'_>, profile: Option<&str>, caller: AuditCaller<'_>) {
        let AuditCaller { peer, socket, .. } = caller;
        let process = peer.process(socket);
        let [system, user] = [&process.units.system, &process.units.user];
        let [profile, unit, user_unit, exe] = [
            profile,
            system.as_deref(),
            user.as_deref(),
            process.executable.as_deref(),
        ]
        .map(|text| text.map(sanitize));
        self.emit(&Event {
            profile: profile.as_deref(),
            uid: Some(peer.uid),
            pid: peer.pid,
            unit: unit.as_deref(),
            user_unit: user_unit.as_deref(),
            exe: exe.as_deref(),
            bound_by: process.binding.map(PidBinding::name),
            lease: event.lease.or(peer.lease.map(|it| it.number)),
            ..event
        });
    }

    fn emit(&self, event: &Event<'_>) {
        info!(
            target: "audit",
            decision = event.decision,
            asked = event.asked,
            profile = event.profile,
            uid = event.uid,
            pid = event.pid,
            unit = event.unit,
            user_unit = event.user_unit,
            exe = event.exe,
            bound_by = event.bound_by,
            lease = event.lease,
            remaining_s = event.remaining_seconds,
            access_key_id = event.access_key_id,
            request_id = event.request_id,
            count = event.count,
            "{}",
            match event.decision {
                "refused" => "refused",
                _ => "credentials handed out",
            }
        );
        if let Some(file) = &mut *lock(&self.file) {
            let time = self.clock.wall().to_string();
            file.append(&Line { time, event });
        }
    }
}

/// Returns a text that a peer or the service chose so that it cannot pass for another: cut
/// to a length, and what does not print is escaped.
pub(crate) fn sanitize(text: &str) -> String {
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == MAX_FIELD_CHARS {
            shown.push('…');
            break;
        }
        match c {
            '\\' | '"' | '\'' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::{
        os::{fd::AsFd as _, unix::net::UnixStream},
        sync::Arc,
    };

    use super::{
        Audit, AuditCaller, AuditFile, Event, Line, MAX_FIELD_CHARS, QuotaCell, RateKey, lock,
        sanitize,
    };
    use crate::{
        access::peer::Peer,
        runtime::clock::{BootTime, SystemClock},
    };

    #[test]
    fn each_served_request_is_emitted_or_counted() {
        let directory = tempfile::tempdir().unwrap();
        let audit = Audit::new(Arc::new(SystemClock::default()));
        audit.write_to(Some(
            AuditFile::open(&directory.path().join("log")).unwrap(),
        ));
        let (one, now) = (Peer::known(1, &[], ""), BootTime::from_millis(1_000_000));
        let (socket, quota) = (UnixStream::pair().unwrap().0, QuotaCell::default());
        let admits_as = |quota: &QuotaCell, refused| {
            let (peer, socket) = (&one, socket.as_fd());
            let caller = AuditCaller {
                peer,
                socket,
                quota,
            };
            audit.admits(caller, refused, now)
        };
        let admits = |quota: &QuotaCell| admits_as(quota, false);
        let mut emitted = (0..100).filter(|_| admits(&quota)).count();
        assert!(quota.0.get().is_some(), "it is known without a search");
        emitted += (0..100).filter(|_| admits(&QuotaCell::default())).count();
        assert_eq!(emitted, 10);
        assert!(admits_as(&quota, true), "its refusals are apart");
        let its = RateKey {
            uid: Some(1),
            pid: one.pid,
            refused: false,
        };
        assert_eq!(lock(&audit.limit).take_counts(now), [(its, 190)]);
        // The next one begins a new sum.
        let used_up = quota.0.get().unwrap();
        assert!(!admits(&quota) && !used_up.count());
    }

    #[test]
    fn what_a_peer_chose_cannot_pass_for_something_else() {
        let check = |text: &str, expected: &str| assert_eq!(sanitize(text), expected);
        check("/usr/bin/sts-shim", "/usr/bin/sts-shim");
        check("worker@a\\x2db.service", "worker@a\\x2db.service");
        check("/home/jo é/x \"y\"", "/home/jo é/x \"y\"");
        check("x\nfake=1", "x\\nfake=1");
        check(
            "\u{1b}[31m\r\0\u{7f}\u{9b}",
            "\\u{1b}[31m\\r\\0\\u{7f}\\u{9b}",
        );
        check("a\u{202e}b\u{2028}c", "a\\u{202e}b\\u{2028}c");
        let long = "x".repeat(MAX_FIELD_CHARS + 1);
        check(&long, &format!("{}…", &long[1..]));
    }

    #[test]
    fn an_event_is_one_line_of_json_whatever_is_in_it() {
        let event = Event {
            decision: "ready",
            exe: Some("x\n{\"decision\":\"refused\"}"),
            ..Event::default()
        };
        let time = "2026-01-01T00:00:00Z".to_owned();
        let line = serde_json::to_string(&Line {
            time,
            event: &event,
        })
        .unwrap();
        assert_eq!(line.lines().count(), 1);
        assert!(line.starts_with("{\"time\":\"2026"), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["decision"], "ready");
        assert!(read.get("uid").is_none(), "what is not known is left out");
    }
}
