//! The requests and replies. A new variant is added at the end, and a message with new fields is a
//! new variant, because the position of a variant is its number on the wire.

use serde::{Deserialize, Serialize};

use crate::{
    SecretText,
    control::{Audit, Status, Url},
};

/// The version of the protocol that this crate speaks.
pub const VERSION: u16 = 1;

/// A message of the client. [`Request::Hello`] comes first on every connection and is written
/// together with the first real request, so it costs no round trip. `Request<&str>` borrows from
/// the buffer that it was decoded from ([`Request::decode_in_place`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<Text = String> {
    /// Opens a connection. Variant 0 for ever, so that every version can read it.
    Hello {
        /// The version the client speaks.
        version: u16,
    },
    /// Asks for the credentials of a profile.
    Credentials {
        /// The profile's name in the daemon's configuration.
        profile: Text,
        /// The credentials must live at least this long, in milliseconds.
        minimum_life_millis: u64,
        /// How long the caller waits for such credentials, in milliseconds.
        patience_millis: u64,
    },
    /// Asks for the credentials of a profile now and again at each rotation, until the
    /// client closes the connection.
    Watch {
        /// The profile's name in the daemon's configuration.
        profile: Text,
    },
    /// Asks what the daemon is doing. Many profiles come in parts: the next part is asked
    /// for with the last name of the one before.
    Status {
        /// Only profiles whose names sort after this one; empty for the first part.
        after: Text,
    },
    /// Asks for a renewal now, and for its outcome.
    Refresh {
        /// The profile's name in the daemon's configuration.
        profile: Text,
        /// How long the caller waits for the outcome, in milliseconds.
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
        /// A session policy, as JSON; none where the profile has its own.
        policy: Option<Text>,
        /// How long the lease is to last, in milliseconds.
        ttl_millis: u64,
        /// How long the client waits for the grant, in milliseconds.
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
}

/// A message of the daemon. [`Reply::Hello`] precedes the first answer of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Answers [`Request::Hello`]. Variant 0 for ever.
    Hello {
        /// The version the daemon speaks.
        version: u16,
    },
    /// Credentials with the lifetime that was asked for.
    Credentials(Credentials),
    /// The best credentials there are: still valid, but with less lifetime than was asked for.
    ShortCredentials(Credentials),
    /// What the daemon is doing.
    Status(Status),
    /// The request was carried out: a renewal succeeded, or the configuration was read.
    Done,
    /// The request cannot be answered, and why.
    Failure(Failure),
    /// The URL of a profile's credentials at the HTTP endpoint.
    Url(Url),
    /// The last callers, and the destinations of the audit's events.
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
