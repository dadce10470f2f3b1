//! The audit: one event for each served or refused request, with the caller and the request ID
//! of the session, by which an entry of ActionTrail can be found.
//!
//! Events go to the log, under the target `audit`, and to a file or to the standard output if the
//! configuration names one. A peer in a loop, a user that forks, and many users flood neither: beyond a burst their
//! events are counted and summarized, see `audit/rate_limit.rs`. The file has a bound of its own
//! besides. Texts that a peer chose (names, paths, units) are cut to a length and have their
//! unprintable characters escaped.

mod file;
mod lost_lines;
mod rate_limit;
mod stdout;
mod summary;

use std::{
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::{sync::Notify, time::sleep};
use tracing::{Level, info};

pub use self::{
    file::{AuditFile, AuditFileError},
    stdout::AuditStdout,
};
use self::{
    lost_lines::LostLine,
    rate_limit::{Admission, AuditRateLimiter, Quota, RateKey},
};
pub(crate) use crate::runtime::foreign_text::sanitize;
use crate::{
    access::{
        Operation, Refusal,
        peer::{Peer, PidBinding},
    },
    runtime::{
        clock::{BootTime, Clock},
        conditions::{Condition, Conditions},
        sync::lock,
    },
    session::snapshot::Session,
};

/// Time between the first suppressed event and the summary.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(10);

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

/// The quota of the process of a connection, set once the quota is used up. The events of a loop
/// are then counted without a lookup.
#[derive(Debug, Default)]
pub struct QuotaCell(OnceLock<Arc<Quota>>);

/// The record of served and refused operations.
pub struct Audit {
    clock: Arc<dyn Clock>,
    limit: Mutex<AuditRateLimiter>,
    output: Mutex<Option<AuditOutput>>,
    /// Notified when the first event of a summary is suppressed.
    suppressed: Notify,
    conditions: Arc<Conditions>,
    /// The number of refused operations, by [`Refusal`].
    refusals: [AtomicU64; Refusal::ALL.len()],
    /// The number of lines that could not be written since the start of the daemon.
    lost_lines: AtomicU64,
}

/// The destination of the events besides the log.
#[derive(Debug)]
pub enum AuditOutput {
    /// A file.
    File(AuditFile),
    /// The daemon's standard output.
    Stdout(AuditStdout),
}

/// The remaining lifetime of a served session, compared with the requested minimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServedLifetime {
    /// At least the requested minimum.
    Sufficient,
    /// Less than the requested minimum.
    Short,
}

/// The decision on an operation, for the rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Decision {
    Served,
    Refused,
}

/// One event, in the form of the file: a line of JSON.
#[derive(Default, Serialize)]
struct Event<'a> {
    decision: &'static str,
    asked: &'static str,
    /// Why the operation is refused; `None` for a served one.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
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
    pod: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound_by: Option<&'static str>,
    /// The number of the lease on whose socket the peer connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    /// The number of events that a summary stands for; `None` for a single event.
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
    /// Creates an audit that goes to the log only. A file that cannot be written, and a standard output
    /// that is not read, is a problem in `conditions`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, conditions: Arc<Conditions>) -> Self {
        Self {
            clock,
            limit: Mutex::default(),
            output: Mutex::default(),
            suppressed: Notify::new(),
            conditions,
            refusals: Default::default(),
            lost_lines: AtomicU64::new(0),
        }
    }

    /// Sets the destination of later events; `None` for the log only.
    pub fn write_to(&self, output: Option<AuditOutput>) {
        *lock(&self.output) = output;
        // A new file was opened just now.
        self.conditions.recover(Condition::AuditFile);
    }

    /// Returns the path of the file, `-` for the standard output; `None` for the log only.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        let output = lock(&self.output);
        output.as_ref().map(|it| it.path().to_owned())
    }

    /// Returns the number of refused operations since the start, by reason. Suppressed events count.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.refusals.iter().map(|it| it.load(Ordering::Relaxed));
        Refusal::ALL.into_iter().map(Refusal::name).zip(counts)
    }

    /// Returns the number of lines since the start that could not be written to the file or to the standard output.
    #[must_use]
    pub fn lost_lines(&self) -> u64 {
        self.lost_lines.load(Ordering::Relaxed)
    }

    /// Records that a caller receives credentials at `now`.
    pub fn served(
        &self,
        operation: Operation,
        profile: &str,
        session: &Session,
        lifetime: ServedLifetime,
        now: BootTime,
        caller: AuditCaller<'_>,
    ) {
        if !self.admits(caller, Decision::Served, now) {
            return;
        }
        let remaining = session.lifetime.remaining(now);
        let event = Event {
            decision: match lifetime {
                ServedLifetime::Sufficient => "ready",
                ServedLifetime::Short => "short",
            },
            asked: operation.name(),
            remaining_seconds: Some(remaining.as_secs()),
            access_key_id: Some(&sanitize(&session.access_key_id)),
            request_id: Some(&sanitize(&session.request_id)),
            ..Event::default()
        };
        self.emit_for_peer(event, Some(profile), caller);
    }

    /// Records that a caller opens a lease, with the first session of the lease.
    pub fn lease_opened(
        &self,
        (profile, lease): (&str, u32),
        session: &Session,
        caller: AuditCaller<'_>,
    ) {
        let now = self.clock.boot();
        if !self.admits(caller, Decision::Served, now) {
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

    /// Records that an operation is refused, on a profile if the caller named one.
    pub fn refused(
        &self,
        operation: Operation,
        profile: Option<&str>,
        reason: Refusal,
        caller: AuditCaller<'_>,
    ) {
        self.refusals[reason as usize].fetch_add(1, Ordering::Relaxed);
        if !self.admits(caller, Decision::Refused, self.clock.boot()) {
            return;
        }
        let event = Event {
            decision: "refused",
            asked: operation.name(),
            reason: Some(reason.name()),
            ..Event::default()
        };
        self.emit_for_peer(event, profile, caller);
    }

    /// Emits a summary of the suppressed events every `SUMMARY_INTERVAL`; never ends.
    pub async fn run_summaries(&self) {
        loop {
            self.suppressed.notified().await;
            sleep(SUMMARY_INTERVAL).await;
            self.flush_summary();
        }
    }

    /// Emits a summary of the suppressed events.
    pub fn flush_summary(&self) {
        let suppressed = lock(&self.limit).take_counts(self.clock.boot());
        for (RateKey { uid, pid, decision }, count) in suppressed {
            self.emit(&Event {
                decision: match decision {
                    Decision::Served => "ready",
                    Decision::Refused => "refused",
                },
                asked: "several",
                uid,
                pid,
                count: Some(count),
                ..Event::default()
            });
        }
    }

    /// Returns `true` if an event must be emitted; a suppressed event is counted. A busy daemon
    /// suppresses most events, therefore nothing is allocated or inspected before this check.
    fn admits(&self, caller: AuditCaller<'_>, decision: Decision, now: BootTime) -> bool {
        let is_served = decision == Decision::Served;
        let known = caller.quota.0.get().filter(|_| is_served);
        let is_first = if let Some(quota) = known.filter(|it| it.is_used_up(now)) {
            quota.suppress()
        } else {
            if !tracing::enabled!(target: "audit", Level::INFO) && lock(&self.output).is_none() {
                return false;
            }
            let key = RateKey {
                uid: Some(caller.peer.uid),
                pid: caller.peer.pid,
                decision,
            };
            match lock(&self.limit).check(key, now) {
                Admission::Emit => return true,
                Admission::Suppress { is_first, used_up } => {
                    if let Some(quota) = used_up.filter(|_| is_served) {
                        let _ = caller.quota.0.set(quota);
                    }
                    is_first
                }
            }
        };
        if is_first {
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
            pod: process.units.pod.as_ref().map(|it| it.as_str()),
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
            reason = event.reason,
            profile = event.profile,
            uid = event.uid,
            pid = event.pid,
            unit = event.unit,
            user_unit = event.user_unit,
            pod = event.pod,
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
                _ => "credentials served",
            }
        );
        if let Some(output) = &mut *lock(&self.output) {
            let time = self.clock.wall().to_string();
            let now = self.clock.boot();
            match output.append(&Line { time, event }, now) {
                Ok(()) => {
                    self.conditions.recover(Condition::AuditFile);
                }
                Err(lost) => {
                    self.lost_lines.fetch_add(1, Ordering::Relaxed);
                    let condition = Condition::AuditFile;
                    self.conditions
                        .fail(condition, &lost.problem, lost.hint, now);
                }
            }
        }
    }
}

impl AuditOutput {
    /// The path that stands for the standard output.
    pub const STDOUT: &str = "-";

    fn path(&self) -> &Path {
        match self {
            Self::File(file) => file.path(),
            Self::Stdout(_) => Path::new(Self::STDOUT),
        }
    }

    fn append(&mut self, line: &Line<'_>, now: BootTime) -> Result<(), LostLine> {
        match self {
            Self::File(file) => file.append(line, now),
            Self::Stdout(output) => output.append(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::{fd::AsFd as _, unix::net::UnixStream},
        sync::Arc,
    };

    use super::{
        Audit, AuditCaller, AuditFile, AuditOutput, Decision, Event, Line, QuotaCell, RateKey, lock,
    };
    use crate::{
        access::peer::Peer,
        runtime::clock::{BootTime, SystemClock},
    };

    #[test]
    fn each_served_request_is_emitted_or_counted() {
        let directory = tempfile::tempdir().unwrap();
        let audit = Audit::new(Arc::new(SystemClock::default()), Arc::default());
        let file = AuditFile::open(&directory.path().join("log")).unwrap();
        audit.write_to(Some(AuditOutput::File(file)));
        let (peer, now) = (Peer::known(1, &[], ""), BootTime::from_millis(1_000_000));
        let (socket, quota) = (UnixStream::pair().unwrap().0, QuotaCell::default());
        let admits_as = |quota: &QuotaCell, decision| {
            let (peer, socket) = (&peer, socket.as_fd());
            let caller = AuditCaller {
                peer,
                socket,
                quota,
            };
            audit.admits(caller, decision, now)
        };
        let admits = |quota: &QuotaCell| admits_as(quota, Decision::Served);
        let mut emitted = (0..100).filter(|_| admits(&quota)).count();
        assert!(quota.0.get().is_some(), "the connection has the quota");
        emitted += (0..100).filter(|_| admits(&QuotaCell::default())).count();
        assert_eq!(emitted, 10);
        let refusal = admits_as(&quota, Decision::Refused);
        assert!(refusal, "refusals have a quota of their own");
        let key = RateKey {
            uid: Some(1),
            pid: peer.pid,
            decision: Decision::Served,
        };
        assert_eq!(lock(&audit.limit).take_counts(now), [(key, 190)]);
        // The next suppressed event is the first of a new summary.
        let used_up = quota.0.get().unwrap();
        assert!(!admits(&quota) && !used_up.suppress());
    }

    #[test]
    fn event_with_a_newline_is_one_line_of_json() {
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
        assert!(read.get("uid").is_none(), "unknown fields are omitted");
    }
}
