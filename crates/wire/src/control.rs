//! The daemon's replies about itself: status, audit and URLs. Only programs that administer the
//! daemon read them; clients that only need credentials are built without these types.

use serde::{Deserialize, Serialize};

use crate::{Failure, SecretText};

/// What the daemon is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the daemon's package.
    pub daemon_version: String,
    /// The daemon's process.
    pub pid: u32,
    /// How long the daemon has been running, suspends included, in seconds.
    pub uptime_seconds: u64,
    /// The configuration in force.
    pub config_path: String,
    /// Calls to STS that had to wait because there were too many at once.
    pub held_back_calls: u64,
    /// Where it answers by HTTP, `127.0.0.1:PORT`, if anywhere.
    pub http_address: Option<String>,
    /// How often a request by HTTP was refused, by the reason: `other_user`, `unknown_user`,
    /// `full`, `browser`, `proxy`, `host`, `secret`, `method`, `path`, `body` or `head`; others
    /// may come.
    pub http_refusals: Vec<FailureCount>,
    /// What the daemon's process has given up, as the system says.
    pub protections: Vec<Protection>,
    /// The profiles that the peer may know of, by name, as many as fit.
    pub profiles: Vec<ProfileStatus>,
    /// `true` if there are more profiles after the last of these.
    pub more: bool,
}

/// One thing that keeps the daemon's secrets from others on the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// What it is.
    pub name: String,
    /// Whether it is in force.
    pub holds: bool,
    /// What it means, or what to do so that it holds.
    pub remark: String,
}

/// What the daemon knows about one profile. Durations are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileStatus {
    /// The profile's name.
    pub name: String,
    /// The role it becomes.
    pub role_arn: String,
    /// The AccessKey id of the current session, if there is one.
    pub access_key_id: Option<String>,
    /// When the current session ends, in seconds since 1970-01-01 UTC.
    pub expiration_unix_seconds: Option<i64>,
    /// The remaining lifetime of the current session.
    pub remaining_seconds: Option<u64>,
    /// The lifetime of the current session when it was obtained.
    pub lifetime_seconds: Option<u64>,
    /// When the next attempt is due; `None` while no client uses the profile.
    pub next_attempt_seconds: Option<u64>,
    /// Why the next attempt is made then, in words.
    pub next_attempt_reason: String,
    /// The last failure; `None` after a success.
    pub last_failure: Option<LastFailure>,
    /// What should be changed though renewals succeed, in words with the fix.
    pub advice: Option<String>,
    /// Replies with credentials. The metric and the JSON key have the same name.
    pub hand_outs: u64,
    /// Replies that would have been calls to STS, had each program called STS by itself.
    pub calls_saved: u64,
    /// Calls made to STS for this profile.
    pub sts_calls: u64,
    /// How many of those calls failed, by the kind of failure.
    pub sts_failures: Vec<FailureCount>,
    /// Renewals that succeeded.
    pub renewals: u64,
    /// How long they took, all together, in milliseconds.
    pub renewal_millis_total: u64,
    /// How long the last one took, in milliseconds.
    pub renewal_millis_last: u64,
}

/// The destinations of the audit's events, and the last caller of each profile. A peer that may
/// not administer the daemon gets no destinations, and only its own user's entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The file, if the configuration names one.
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
    /// The number of its process, where that is known; it may have ended since.
    pub pid: Option<u32>,
    /// The systemd unit it belonged to, if the audit or a rule has looked at it.
    pub unit: Option<String>,
    /// Its unit in the manager of a user, which that user named.
    pub user_unit: Option<String>,
    /// The program it ran, under the same condition: a hint, which it chose itself.
    pub exe: Option<String>,
    /// How long ago, in seconds.
    pub age_seconds: u64,
}

/// How often one kind of failure happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCount {
    /// The kind: `denied`, `source_expired`, `clock`, `nonce_used`, `throttled`,
    /// `unavailable`, `unreachable` or `unreadable`; others may come.
    pub kind: String,
    /// How often.
    pub count: u64,
}

/// The most recent failure of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    /// The failure as a caller would get it.
    pub failure: Failure,
    /// How long ago it happened, in seconds.
    pub age_seconds: u64,
    /// How many attempts have failed since the last success.
    pub in_a_row: u32,
}

/// The URL of a profile's credentials at the HTTP endpoint: a credentials URI, or the container
/// endpoint of the AWS SDKs. The URL is a secret, because it suffices to fetch the credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Url {
    /// `http://127.0.0.1:PORT/TOKEN/PROFILE`.
    pub url: SecretText,
    /// The secret that is part of the URL. In the header `Authorization` it is accepted for
    /// `http://127.0.0.1:PORT/credentials/PROFILE` as well.
    pub token: SecretText,
}
