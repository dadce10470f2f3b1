//! The daemon's replies about itself: status, audit and URLs. Only programs that administer the
//! daemon read them; clients that only need credentials are built without these types.

use serde::{Deserialize, Serialize};

use crate::{Failure, SecretText};

/// The state of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the daemon's package.
    pub daemon_version: String,
    /// The daemon's process.
    pub pid: u32,
    /// The time since the start of the daemon, with suspends, in seconds.
    pub uptime_seconds: u64,
    /// The configuration in force.
    pub config_path: String,
    /// Calls to STS that the rate limit has delayed.
    pub held_back_calls: u64,
    /// The address of the HTTP endpoint, `127.0.0.1:PORT`; `None` without one.
    pub http_address: Option<String>,
    /// The requests that the HTTP endpoint has refused, by reason: `other_user`, `unknown_user`,
    /// `full`, `browser`, `proxy`, `host`, `secret`, `method`, `path`, `body` or `head`; others
    /// may be added.
    pub http_refusals: Vec<FailureCount>,
    /// The protections of the daemon's process, as the system reports them.
    pub protections: Vec<Protection>,
    /// The profiles that the peer may know of, by name, as many as fit.
    pub profiles: Vec<ProfileStatus>,
    /// `true` if there are more profiles after the last of these.
    pub more: bool,
}

/// A protection of the daemon's secrets from other programs on the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// The name of the protection.
    pub name: String,
    /// `true` if the protection is in force.
    pub holds: bool,
    /// The effect of the protection, or a way to put it in force.
    pub remark: String,
}

/// The state of one profile. Durations are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileStatus {
    /// The profile's name.
    pub name: String,
    /// The role.
    pub role_arn: String,
    /// The AccessKey id of the current session, if there is one.
    pub access_key_id: Option<String>,
    /// The expiration of the current session, in seconds since 1970-01-01 UTC.
    pub expiration_unix_seconds: Option<i64>,
    /// The remaining lifetime of the current session.
    pub remaining_seconds: Option<u64>,
    /// The lifetime of the current session when it was obtained.
    pub lifetime_seconds: Option<u64>,
    /// The time until the next attempt; `None` while no client uses the profile.
    pub next_attempt_seconds: Option<u64>,
    /// The reason for the time of the next attempt, in words.
    pub next_attempt_reason: String,
    /// The last failure; `None` after a success.
    pub last_failure: Option<LastFailure>,
    /// Advice although renewals succeed: a problem and its fix.
    pub advice: Option<String>,
    /// The number of replies with credentials. The metric and the JSON key have the same name.
    pub hand_outs: u64,
    /// The number of calls to STS that programs without the daemon would have made in addition.
    pub calls_saved: u64,
    /// The number of calls to STS.
    pub sts_calls: u64,
    /// The number of failed attempts, by the kind of failure.
    pub sts_failures: Vec<FailureCount>,
    /// The number of renewals.
    pub renewals: u64,
    /// The duration of all successful calls, in milliseconds.
    pub renewal_millis_total: u64,
    /// The duration of the last successful call, in milliseconds.
    pub renewal_millis_last: u64,
}

/// The destinations of the audit's events, and the last caller of each profile. A peer that may
/// not administer the daemon gets no destinations, and only its own user's entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The file, if the configuration names one; `-` for the daemon's standard output.
    pub file: Option<String>,
    /// `true` if the events go to systemd's journal.
    pub in_journal: bool,
    /// The systemd unit of the daemon, if it has one.
    pub unit: Option<String>,
    /// Its unit in the manager of a user.
    pub user_unit: Option<String>,
    /// The last caller of each profile, sorted by the profiles' names, as many as fit. A profile
    /// without a caller has no entry.
    pub callers: Vec<LastCaller>,
    /// `true` if there may be more profiles after the last of these.
    pub more: bool,
}

/// The last caller that asked for a profile's credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCaller {
    /// The profile's name.
    pub profile: String,
    /// The kind of request: `credentials`, `watch` or `url`; others may be added.
    pub asked: String,
    /// Its user.
    pub uid: u32,
    /// Its process; `None` if unknown. The process may have ended since.
    pub pid: Option<u32>,
    /// Its systemd unit; `None` if neither the audit nor a rule has read it.
    pub unit: Option<String>,
    /// Its unit in the manager of a user, which that user named.
    pub user_unit: Option<String>,
    /// Its program, under the same condition. The caller chooses this text itself.
    pub exe: Option<String>,
    /// The time since the request, in seconds.
    pub age_seconds: u64,
}

/// The number of failures of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCount {
    /// The kind: `denied`, `source_expired`, `clock`, `nonce_used`, `throttled`,
    /// `unavailable`, `unreachable` or `unreadable`; others may be added.
    pub kind: String,
    /// The number.
    pub count: u64,
}

/// The most recent failure of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    /// The failure, as a caller receives it.
    pub failure: Failure,
    /// The time since the failure, in seconds.
    pub age_seconds: u64,
    /// The number of failed attempts since the last success.
    pub in_a_row: u32,
}

/// The conditions of the daemon: states that last, such as a refused configuration. A peer that may
/// not administer the daemon gets none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// The conditions, in a stable order.
    pub conditions: Vec<Condition>,
}

/// One state of the daemon that lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// The name: `configuration`, `socket`, `audit_file`, `handover`, `http_endpoint`,
    /// `metrics_endpoint` or `sts_endpoint`; others may come.
    pub name: String,
    /// `true` without a problem; the hint is then empty, and the message as well, except for
    /// `endpoint`, whose message is then the endpoint of STS and its origin.
    pub holds: bool,
    /// What the problem is, in words.
    pub message: String,
    /// What to do about it, in words.
    pub hint: String,
    /// How long the problem has lasted, in seconds.
    pub age_seconds: u64,
}

/// The metrics of the daemon that its status has not. They are text, so that a new family needs no new
/// message. A peer that may not administer the daemon gets an empty text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// Families in the text format of Prometheus, version 0.0.4, as many samples of sources as fit.
    pub text: String,
}

/// The URL of a profile's credentials at the HTTP endpoint: a credentials URI, or the container
/// endpoint of the AWS SDKs. The URL is a secret, because it suffices to fetch the credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Url {
    /// `http://127.0.0.1:PORT/TOKEN/PROFILE`.
    pub url: SecretText,
    /// The secret that is part of the URL, of this user and this profile. In the header
    /// `Authorization` it is accepted for `http://127.0.0.1:PORT/credentials/PROFILE` as well.
    pub token: SecretText,
}

/// The state of the HTTP endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpListener {
    /// Whether connections arrive.
    pub state: ListenerState,
    /// `127.0.0.1:PORT`, as bound or else as configured; `None` without a configured one.
    pub address: Option<String>,
    /// The user of the process that holds the address, if that is another process and the kernel
    /// reports its user.
    pub holder_uid: Option<u32>,
    /// Why connections do not arrive, and the events that have ended URLs.
    pub problems: Vec<Problem>,
}

/// Whether connections arrive at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ListenerState {
    /// The configuration does not ask for the listener.
    NotConfigured,
    /// Connections are accepted.
    Listening,
    /// Another process holds the address.
    Taken,
    /// The address cannot be used for another reason.
    Failed,
}

/// A problem that does not stop the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong, for humans. Never holds a secret.
    pub message: String,
    /// What to do about it, for humans.
    pub hint: String,
}
