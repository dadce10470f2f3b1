//! The requests and replies. A new variant is added at the end, and a message with new fields is a
//! new variant, because the position of a variant is its number on the wire.

use serde::{Deserialize, Serialize};

use crate::{
    SecretText,
    control::{Audit, Conditions, HttpListener, Metrics, Status, Url},
};

/// The version of the protocol that this crate speaks.
pub const VERSION: u16 = 1;

/// A message of the client. [`Request::Hello`] comes first on every connection and is written
/// together with the first real request, so it costs no round trip. `Request<&str>` borrows from
/// the buffer that it was decoded from ([`Request::decode_in_place`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<Text = String> {
    /// Opens a connection. Always variant 0, so that every version can read it.
    Hello {
        /// The version of the client.
        version: u16,
    },
    /// Asks for the credentials of a profile.
    Credentials {
        /// The profile's name in the daemon's configuration.
        profile: Text,
        /// The minimum remaining lifetime of the credentials, in milliseconds.
        minimum_life_millis: u64,
        /// The time for which the caller waits for such credentials, in milliseconds.
        patience_millis: u64,
    },
    /// Asks for the credentials of a profile now and again at each rotation, until the
    /// client closes the connection.
    Watch {
        /// The profile's name in the daemon's configuration.
        profile: Text,
    },
    /// Asks for the state of the daemon. Many profiles come in parts: the request for the next part
    /// has the last name of the previous one.
    Status {
        /// Only profiles whose names sort after this one; empty for the first part.
        after: Text,
    },
    /// Asks for a renewal now, and for its outcome.
    Refresh {
        /// The profile's name in the daemon's configuration.
        profile: Text,
        /// The time for which the caller waits for the outcome, in milliseconds.
        patience_millis: u64,
    },
    /// Asks the daemon to read its configuration again.
    Reload,
    /// Asks for a lease: a second socket that answers one profile, narrowed. When it is
    /// granted ([`Reply::Done`]), the client sends one byte with a listening Unix stream
    /// socket (`SCM_RIGHTS`), receives [`Reply::Done`] again, and keeps the connection open for
    /// as long as it needs the lease. A third [`Reply::Done`] means that the lease has expired.
    Lease {
        /// The profile's name in the daemon's configuration.
        profile: Text,
        /// A session policy, as JSON; `None` if the profile has one.
        policy: Option<Text>,
        /// The duration of the lease, in milliseconds.
        ttl_millis: u64,
        /// The time for which the client waits for the grant, in milliseconds.
        patience_millis: u64,
    },
    /// Asks for the URL of a profile's credentials at the HTTP endpoint.
    Url {
        /// The profile's name in the daemon's configuration.
        profile: Text,
    },
    /// Replaces the secret in all URLs: the previous URLs become invalid.
    RotateUrls,
    /// Asks for the last caller of each profile, and for the destinations of the audit's events.
    /// Many profiles come in parts, as with [`Request::Status`].
    Audit {
        /// Only profiles whose names sort after this one; empty for the first part.
        after: Text,
    },
    /// Asks for the lasting problems of the daemon itself.
    Conditions,
    /// Asks for the state of the HTTP endpoint.
    HttpListener,
    /// Asks for the metrics of the daemon that [`Reply::Status`] has not.
    Metrics,
}

/// A message of the daemon. [`Reply::Hello`] precedes the first answer of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Answers [`Request::Hello`]. Always variant 0.
    Hello {
        /// The version of the daemon.
        version: u16,
    },
    /// Credentials with the requested lifetime.
    Credentials(Credentials),
    /// Valid credentials with less lifetime than requested.
    ShortCredentials(Credentials),
    /// The state of the daemon.
    Status(Status),
    /// The request was carried out: a renewal succeeded, or the configuration was read.
    Done,
    /// An error, with its reason.
    Failure(Failure),
    /// The URL of a profile's credentials at the HTTP endpoint.
    Url(Url),
    /// The last callers, and the destinations of the audit's events.
    Audit(Audit),
    /// The conditions of the daemon.
    Conditions(Conditions),
    /// The state of the HTTP endpoint.
    HttpListener(HttpListener),
    /// The metrics of the daemon that its status has not.
    Metrics(Metrics),
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
    /// The expiration of the session by the service, in seconds since 1970-01-01 UTC.
    pub expiration_unix_seconds: i64,
    /// The time of issue by the service's clock, in seconds since 1970-01-01 UTC.
    pub issued_unix_seconds: i64,
}

/// An error that a program can branch on and a human can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of error, for programs.
    pub kind: FailureKind,
    /// The error, for people. Never contains a secret.
    pub message: String,
    /// The remediation, for people. May be empty.
    pub hint: String,
}

/// The kind of an error, by which a program can branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FailureKind {
    /// No profile of that name is configured.
    UnknownProfile,
    /// The peer is not allowed to make the request.
    NotAllowed,
    /// There are no valid credentials yet, without a failure: no client has asked before, or the
    /// caller's patience is shorter than the first renewal.
    NotYetAvailable,
    /// STS has denied the role session, and denies it again until a person changes something.
    DeniedBySts,
    /// STS is unreachable, or its answer is unusable.
    Unreachable,
    /// STS throttles the calls of the daemon.
    Throttled,
    /// The two sides speak different versions of the protocol.
    WrongVersion,
    /// The frame is malformed. The daemon closes the connection after this reply.
    Malformed,
    /// The daemon stops, or a limit of the daemon is reached.
    Busy,
    /// The configuration is invalid; the previous one stays in force.
    BadConfig,
}
