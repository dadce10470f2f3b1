//! Decides what the two sides can say. New variants and new fields' messages go last:
//! the position of a variant is its number on the wire, for ever.

use serde::{Deserialize, Serialize};

use crate::SecretText;

/// The version of the protocol that this crate speaks.
pub const VERSION: u16 = 1;

/// What a client says. [`Request::Hello`] comes first on every connection and is written
/// together with the first real request, so it costs no round trip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Opens a connection. Variant 0 for ever, so that every version can read it.
    Hello {
        /// The version the client speaks.
        version: u16,
    },
    /// Asks for the credentials of a profile.
    Credentials {
        /// The profile's name in the daemon's configuration.
        profile: String,
        /// The credentials must live at least this long, in milliseconds.
        minimum_life_millis: u64,
        /// How long the caller waits for such credentials, in milliseconds.
        patience_millis: u64,
    },
    /// Asks for the credentials of a profile now and again at each rotation, until the
    /// client closes the connection.
    Watch {
        /// The profile's name in the daemon's configuration.
        profile: String,
    },
    /// Asks what the daemon is doing. Many profiles come in parts: the next part is asked
    /// for with the last name of the one before.
    Status {
        /// Only profiles whose names sort after this one; empty for the first part.
        after: String,
    },
    /// Asks for a renewal now, and for its outcome.
    Refresh {
        /// The profile's name in the daemon's configuration.
        profile: String,
        /// How long the caller waits for the outcome, in milliseconds.
        patience_millis: u64,
    },
    /// Asks the daemon to read its configuration again.
    Reload,
    /// Asks for a lease: a second socket that answers one profile, narrowed. When it is
    /// granted ([`Reply::Done`]), the client sends one byte with a listening Unix stream
    /// socket (`SCM_RIGHTS`), hears [`Reply::Done`] again, and keeps the connection open for
    /// as long as it wants the lease. A third [`Reply::Done`] says that its time is over.
    Lease {
        /// The profile's name in the daemon's configuration.
        profile: String,
        /// A session policy, as JSON; none where the profile has its own.
        policy: Option<String>,
        /// How long the lease is to last, in milliseconds.
        ttl_millis: u64,
        /// How long the client waits for the grant, in milliseconds.
        patience_millis: u64,
    },
    /// Asks for the URL by which a profile's credentials are had over HTTP.
    Url {
        /// The profile's name in the daemon's configuration.
        profile: String,
    },
    /// Asks for another secret in all URLs: those given out before open nothing any more.
    RotateUrls,
    /// Asks who has asked for each profile last, and where the audit's events go. Many
    /// profiles come in parts, as with [`Request::Status`].
    Audit {
        /// Only profiles whose names sort after this one; empty for the first part.
        after: String,
    },
}

/// What the daemon says. [`Reply::Hello`] precedes the first answer of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Answers [`Request::Hello`]. Variant 0 for ever.
    Hello {
        /// The version the daemon speaks.
        version: u16,
    },
    /// Credentials that live as long as was asked.
    Credentials(Credentials),
    /// The best credentials there are: still valid, but for less long than was asked.
    ShortCredentials(Credentials),
    /// What the daemon is doing.
    Status(Status),
    /// The request was carried out: a renewal succeeded, or the configuration was read.
    Done,
    /// The request cannot be answered, and why.
    Failure(Failure),
    /// Where a profile's credentials are had over HTTP.
    Url(Url),
    /// Who asked last, and where the audit's events go.
    Audit(Audit),
}

/// One role session as a caller uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The temporary AccessKey id, `STS.…`. An identifier, not a secret.
    pub access_key_id: String,
    /// The temporary AccessKey secret.
    pub access_key_secret: SecretText,
    /// The token that must accompany every request signed with the key.
    pub security_token: SecretText,
    /// When the session ends, in seconds since 1970-01-01 UTC, as the service said.
    pub expiration_unix_seconds: i64,
    /// When the session was obtained, in seconds since 1970-01-01 UTC by the service's clock.
    pub issued_unix_seconds: i64,
}

/// Where a profile's credentials are had over HTTP: a credentials URI, or the container
/// endpoint of the AWS SDKs. Whoever has one has the credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Url {
    /// `http://127.0.0.1:PORT/TOKEN/PROFILE`.
    pub url: SecretText,
    /// The secret that is in it. It opens `http://127.0.0.1:PORT/credentials/PROFILE` as well,
    /// in the header `Authorization`.
    pub token: SecretText,
}

/// An error that a program can branch on and a human can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong, for programs.
    pub kind: FailureKind,
    /// What went wrong, for humans. Never holds a secret.
    pub message: String,
    /// What to do about it, for humans. May be empty.
    pub hint: String,
}

/// What a program can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FailureKind {
    /// No profile of that name is configured.
    UnknownProfile,
    /// This peer may not have that.
    NotAllowed,
    /// No valid credentials yet, for a reason of our own: none was asked for before, or
    /// the patience was shorter than the first renewal.
    NotYetAvailable,
    /// STS refused the role session, and will refuse it again until something changes.
    DeniedBySts,
    /// STS cannot be reached, or answers with what cannot be used.
    Unreachable,
    /// STS is limiting our calls.
    Throttled,
    /// The two sides speak different versions of the protocol.
    WrongVersion,
    /// The daemon could not understand the frame; it closes the connection after saying so.
    Malformed,
    /// The daemon is stopping or has too much to do.
    Busy,
    /// The configuration cannot be used; the one in force stays in force.
    BadConfig,
}

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
    /// There are more profiles after the last of these.
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
    /// How long the current session still lives.
    pub remaining_seconds: Option<u64>,
    /// How long the current session lived when it was obtained.
    pub lifetime_seconds: Option<u64>,
    /// When the next attempt is due; none while nobody asks for the profile.
    pub next_attempt_seconds: Option<u64>,
    /// Why the next attempt is made then, in words.
    pub next_attempt_reason: String,
    /// What went wrong last; none after a success.
    pub last_failure: Option<LastFailure>,
    /// What should be changed though renewals succeed, in words with the fix.
    pub advice: Option<String>,
    /// Credentials handed out.
    pub hand_outs: u64,
    /// Hand-outs that would have been calls to STS, had each program asked it by itself.
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

/// Where the audit's events go, and who asked for each profile last. Where they go is told
/// to those who may steer the daemon; the others are told of themselves and of nobody else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The file, if the configuration names one.
    pub file: Option<String>,
    /// They go to systemd's journal.
    pub in_journal: bool,
    /// The systemd unit of the daemon, if it has one.
    pub unit: Option<String>,
    /// Its unit in the manager of a user.
    pub user_unit: Option<String>,
    /// Who asked last, by the profiles' names, as many as fit; without the profiles that
    /// nobody has asked for.
    pub callers: Vec<LastCaller>,
    /// There may be more after the last of these.
    pub more: bool,
}

/// Who asked for a profile's credentials last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCaller {
    /// The profile's name.
    pub profile: String,
    /// How: `credentials`, `watch` or `url`; others may come.
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
