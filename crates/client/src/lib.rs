//! A client of the stsd daemon.
//!
//! | a program | type or method | feature |
//! |---|---|---|
//! | that blocks | [`Client`] | – |
//! | that administers a daemon | `Client::status`, `audit`, `url` | `control` |
//! | on tokio, now and then | `AsyncClient::credentials` | `tokio` |
//! | on tokio, that signs often | `AsyncClient::watch`: a value that is always fresh | `tokio` |
//! | with an SDK of AWS | the same value, as a `ProvideCredentials` | `aws` |
//!
//! ```no_run
//! use std::time::Duration;
//!
//! let client = stsd_client::Client::from_environment();
//! let answer = client.credentials("oss-upload", Duration::from_secs(300), Duration::from_secs(10))?;
//! println!("{}", answer.credentials.access_key_id);
//! # Ok::<(), stsd_client::Error>(())
//! ```
//!
//! Every call opens a connection, sends a request, and returns its reply or an [`Error`] within
//! its patience. A daemon that is away, or restarts, is waited for meanwhile, and a server of another
//! user gets no request. A connection costs about ten system calls; none is kept alive. A
//! watch keeps one connection and takes each rotation from it; a read costs 10 to
//! 25 ns (`examples/read_cost.rs` measures it) and no system call.
//!
//! Secrets are [`SecretText`]: redacted when printed, wiped on drop. An error holds no secret, and
//! has a hint ([`Error::hint`]):
//!
//! ```
//! use std::time::Duration;
//!
//! use stsd_client::{Client, Error};
//!
//! let client = Client::at("/nonexistent/stsd.sock").without_retries();
//! let error = client.credentials("oss-upload", Duration::ZERO, Duration::from_secs(1)).unwrap_err();
//! assert!(matches!(error, Error::NotReachable { .. }));
//! assert!(error.hint().contains("STSD_SOCKET"));
//! ```

#[cfg(feature = "tokio")]
mod asynchronous;
#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "tokio")]
mod boot_time;
mod connection;
#[cfg(feature = "control")]
mod control;
mod error;
#[cfg(feature = "tokio")]
mod follow;
mod inbox;
mod instant;
#[cfg(feature = "lease")]
mod lease;
mod socket;
#[cfg(feature = "tokio")]
mod watched;

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncClient;
use connection::Connection;
pub use connection::Watch;
pub use error::Error;
#[cfg(feature = "lease")]
pub use lease::Lease;
pub use socket::SYSTEM_SOCKET;
use socket::{Location, Retry, Wait};
#[cfg(feature = "control")]
pub use stsd_wire::{
    Audit, Condition, FailureCount, HttpListener, LastCaller, LastFailure, ListenerState, Problem,
    ProfileStatus, Protection, Status, Url,
};
pub use stsd_wire::{Credentials, Failure, FailureKind, SecretText};
use stsd_wire::{Reply, Request};
#[cfg(feature = "tokio")]
pub use watched::{Current, Watched};

/// The timeout of a request that the daemon answers from memory.
const PROMPT: Duration = Duration::from_secs(5);

/// The largest part of a caller's patience that is reserved for connecting, sending and receiving.
const TRAVEL: Duration = Duration::from_millis(500);

/// A client of one daemon. Its requests wait for a daemon that is away, and are sent again to a daemon
/// that restarts meanwhile, until their patience ends.
#[derive(Debug, Clone)]
pub struct Client {
    location: Location,
    wait: Wait,
}

/// Credentials, with a mark if they expire earlier than was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// Valid credentials.
    pub credentials: Credentials,
    /// `true` if their remaining lifetime is below the minimum that was asked for.
    pub short: bool,
}

impl Client {
    /// Finds the daemon by the variables of this process: `$STSD_SOCKET`; else
    /// `$XDG_RUNTIME_DIR/stsd/stsd.sock`, with that variable unset `/run/user/UID/stsd/stsd.sock`; else,
    /// for a user without a directory there and without a configuration, `/run/stsd/stsd.sock`.
    /// Does not connect yet. The client stays with that socket: after a failure it uses no other.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::from_variables(|name| env::var_os(name))
    }

    /// Finds the daemon as [`from_environment`](Self::from_environment) does, by other variables.
    #[must_use]
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        Self {
            location: Location::find(variable),
            wait: Wait::Patience,
        }
    }

    /// Uses this socket only.
    #[must_use]
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self {
            location: Location::named(socket.into()),
            wait: Wait::Patience,
        }
    }

    /// Returns a client that waits for at most two seconds for a daemon if the socket was not named
    /// and its directory is missing: for a patience that is a program's default.
    #[must_use]
    pub fn with_default_patience(self) -> Self {
        let wait = Wait::IfEstablished;
        Self { wait, ..self }
    }

    /// Returns a client whose requests are attempted once: a daemon that is away, busy or about to
    /// restart is an error at once.
    #[must_use]
    pub fn without_retries(self) -> Self {
        let wait = Wait::Never;
        Self { wait, ..self }
    }

    /// Returns the path of the socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.location.path()
    }

    /// Returns a sentence that tells this client's daemon from the other one on this machine, the
    /// user's or the system's; `None` if there is no other one.
    #[must_use]
    pub fn which_of_two(&self) -> Option<String> {
        let other = self.location.other(|name| env::var_os(name))?;
        let (socket, other) = (self.socket().display(), other.display());
        Some(format!(
            "the daemon at {socket} answered; another daemon's socket is {other}"
        ))
    }

    /// Returns credentials of `profile` with a remaining lifetime of at least `minimum_life`,
    /// within `patience`. A tenth of the patience, at most half a second, is reserved for connecting,
    /// sending and receiving; the daemon may use the rest. Both durations are sent in
    /// milliseconds. The request is sent again to a daemon that restarts meanwhile.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Refused`] holds the daemon's failure.
    pub fn credentials(
        &self,
        profile: &str,
        minimum_life: Duration,
        patience: Duration,
    ) -> Result<Answer, Error> {
        self.with_retries(self.wait, patience, |mut connection, left| {
            connection.send(&for_credentials(profile, minimum_life, left))?;
            answer(connection.receive()?)
        })
    }

    /// Returns an iterator over the credentials of `profile`, now and at every rotation. The
    /// iterator ends when the daemon does.
    ///
    /// # Errors
    /// [`Error`], when the request cannot be sent.
    pub fn watch(&self, profile: &str) -> Result<Watch, Error> {
        self.with_retries(self.prompt_wait(), PROMPT, |mut connection, _| {
            connection.send(&Request::Watch {
                profile: profile.to_owned(),
            })?;
            Ok(Watch::new(connection))
        })
    }

    /// Returns the status of the daemon and of all profiles.
    ///
    /// # Errors
    /// [`Error`].
    #[cfg(feature = "control")]
    pub fn status(&self) -> Result<Status, Error> {
        self.with_retries(self.prompt_wait(), PROMPT, control::whole_status)
    }

    /// Returns the last caller of each profile and the destinations of the audit's events. A
    /// daemon that is older than this request refuses it as malformed.
    ///
    /// # Errors
    /// [`Error`].
    #[cfg(feature = "control")]
    pub fn audit(&self) -> Result<Audit, Error> {
        self.with_retries(self.prompt_wait(), PROMPT, control::whole_audit)
    }

    /// Returns the conditions of the daemon: lasting states, such as a refused configuration. Empty
    /// for a caller that may not administer the daemon. A daemon that is older than this request
    /// refuses it as malformed.
    ///
    /// # Errors
    /// [`Error`].
    #[cfg(feature = "control")]
    pub fn conditions(&self) -> Result<Vec<Condition>, Error> {
        match self.ask(&Request::Conditions)? {
            Reply::Conditions(reply) => Ok(reply.conditions),
            other => Err(unexpected(other)),
        }
    }

    /// Returns the state of the HTTP endpoint, with the reason for which the endpoint does not listen.
    /// A daemon that is older than this request refuses it as malformed.
    ///
    /// # Errors
    /// [`Error`].
    #[cfg(feature = "control")]
    pub fn http_listener(&self) -> Result<HttpListener, Error> {
        match self.ask(&Request::HttpListener)? {
            Reply::HttpListener(listener) => Ok(listener),
            other => Err(unexpected(other)),
        }
    }

    /// Returns the metrics of the daemon that its status has not, in the text format of Prometheus;
    /// empty for a caller that may not administer the daemon. A daemon that is older than this request
    /// refuses it as malformed.
    ///
    /// # Errors
    /// [`Error`].
    #[cfg(feature = "control")]
    pub fn metrics(&self) -> Result<String, Error> {
        match self.ask(&Request::Metrics)? {
            Reply::Metrics(metrics) => Ok(metrics.text),
            other => Err(unexpected(other)),
        }
    }

    /// Requests a renewal now and waits for its outcome for `patience`.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Refused`] holds the reason for which the renewal failed.
    pub fn refresh(&self, profile: &str, patience: Duration) -> Result<(), Error> {
        self.with_retries(self.wait, patience, |mut connection, left| {
            connection.send(&Request::Refresh {
                profile: profile.to_owned(),
                patience_millis: millis(left - TRAVEL.min(left / 10)),
            })?;
            done(connection.receive()?)
        })
    }

    /// Makes the daemon read its configuration again.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Refused`] holds what is wrong with the configuration, and then the
    /// previous one stays in force.
    pub fn reload(&self) -> Result<(), Error> {
        done(self.ask(&Request::Reload)?)
    }

    /// Returns the URL of the credentials of `profile` at the HTTP endpoint.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Refused`] with the reason when the HTTP endpoint does not listen.
    #[cfg(feature = "control")]
    pub fn url(&self, profile: &str) -> Result<Url, Error> {
        let profile = profile.to_owned();
        match self.ask(&Request::Url { profile })? {
            Reply::Url(url) => Ok(url),
            other => Err(unexpected(other)),
        }
    }

    /// Replaces the secret in all URLs: the previous URLs become invalid.
    ///
    /// # Errors
    /// [`Error`].
    pub fn rotate_urls(&self) -> Result<(), Error> {
        done(self.ask(&Request::RotateUrls)?)
    }

    /// Sends a request that the daemon answers from memory.
    fn ask(&self, request: &Request) -> Result<Reply, Error> {
        self.with_retries(self.prompt_wait(), PROMPT, |mut connection, _| {
            connection.send(request)?;
            connection.receive()
        })
    }

    /// Runs an exchange, each time on a new connection and with the rest of the patience, until no
    /// retry changes its outcome.
    pub(crate) fn with_retries<T>(
        &self,
        wait: Wait,
        patience: Duration,
        exchange: impl Fn(Connection, Duration) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut retry = Retry::new(&self.location, wait, patience);
        loop {
            let left = retry.left();
            let opened = Connection::open(&self.location, left);
            let outcome = opened.and_then(|connection| {
                retry.connected();
                exchange(connection, left)
            });
            match outcome {
                Err(error) => thread::sleep(retry.after(error)?),
                done => return done,
            }
        }
    }

    /// Returns the wait of a request without a patience of the caller.
    fn prompt_wait(&self) -> Wait {
        match self.wait {
            Wait::Never => Wait::Never,
            Wait::Patience | Wait::IfEstablished => Wait::IfEstablished,
        }
    }
}

fn for_credentials(profile: &str, minimum_life: Duration, left: Duration) -> Request {
    Request::Credentials {
        profile: profile.to_owned(),
        minimum_life_millis: millis(minimum_life),
        patience_millis: millis(left - TRAVEL.min(left / 10)),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn answer(reply: Reply) -> Result<Answer, Error> {
    let (credentials, short) = match reply {
        Reply::Credentials(credentials) => (credentials, false),
        Reply::ShortCredentials(credentials) => (credentials, true),
        other => return Err(unexpected(other)),
    };
    Ok(Answer { credentials, short })
}

fn done(reply: Reply) -> Result<(), Error> {
    match reply {
        Reply::Done => Ok(()),
        other => Err(unexpected(other)),
    }
}

/// Returns the error for a reply of another kind than requested. The error does not show the reply,
/// which may hold credentials.
fn unexpected(reply: Reply) -> Error {
    match reply {
        Reply::Failure(failure) => Error::Refused(failure),
        _ => Error::Protocol("the daemon answered another question".to_owned()),
    }
}
