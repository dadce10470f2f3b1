//! Asks the stsd daemon for credentials.
//!
//! | a program | uses | feature |
//! |---|---|---|
//! | that blocks | [`Client`], on the standard library alone | – |
//! | that looks after a daemon | `Client::status`, `audit`, `url` | `control` |
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
//! Every call opens a connection, asks, and has its answer within its patience or an
//! [`Error`]. A connection costs about ten system calls; there is nothing to keep alive. A
//! watch keeps one connection and takes each rotation from it; a read costs 10 to
//! 25 ns (`examples/read_cost.rs` measures it) and no system call.
//!
//! Secrets are [`SecretText`]: redacted when printed, wiped when dropped. An error has none,
//! but says what to do ([`Error::hint`]):
//!
//! ```
//! use std::time::Duration;
//!
//! use stsd_client::{Client, Error};
//!
//! let client = Client::at("/nonexistent/stsd.sock");
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
mod error;
#[cfg(feature = "tokio")]
mod follow;
mod inbox;
#[cfg(feature = "lease")]
mod lease;
#[cfg(feature = "tokio")]
mod watched;

use std::{
    env,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncClient;
pub use connection::Watch;
use connection::{Connection, now};
pub use error::Error;
#[cfg(feature = "lease")]
pub use lease::Lease;
#[cfg(feature = "control")]
pub use stsd_wire::{
    Audit, FailureCount, LastCaller, LastFailure, ProfileStatus, Protection, Status, Url,
};
pub use stsd_wire::{Credentials, Failure, FailureKind, SecretText};
use stsd_wire::{Reply, Request};
#[cfg(feature = "tokio")]
pub use watched::{Current, Watched};

/// How long a question may take that is answered from memory.
const PROMPT: Duration = Duration::from_secs(5);

/// The longest part of a caller's patience kept for the way there and back.
const TRAVEL: Duration = Duration::from_millis(500);

/// The first pause before a daemon that restarts is asked again; each is twice as long as
/// the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Where the system daemon listens.
const SYSTEM_SOCKET: &str = "/run/stsd/stsd.sock";

/// A way to one daemon.
#[derive(Debug, Clone)]
pub struct Client {
    /// Tried in order; the first one that exists is the daemon's.
    sockets: Vec<PathBuf>,
}

/// Credentials, and whether they live as long as was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Valid credentials.
    pub credentials: Credentials,
    /// True when they live for less than the minimum life that was asked.
    pub short: bool,
}

impl Client {
    /// Finds the daemon: `$STSD_SOCKET`, else `$XDG_RUNTIME_DIR/stsd/stsd.sock`, else
    /// `/run/stsd/stsd.sock`. Touches nothing yet.
    #[must_use]
    pub fn from_environment() -> Self {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        if let Some(path) = variable("STSD_SOCKET") {
            return Self::at(path);
        }
        let user = variable("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("stsd/stsd.sock"));
        Self {
            sockets: user.into_iter().chain([SYSTEM_SOCKET.into()]).collect(),
        }
    }

    /// Uses one socket and no other.
    #[must_use]
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self {
            sockets: vec![socket.into()],
        }
    }

    /// Asks for credentials of `profile` that live at least `minimum_life`, and returns
    /// within `patience`. A tenth of it, at most half a second, is kept for the way there
    /// and back; the daemon may use the rest. Both are sent in milliseconds. A daemon that
    /// restarts meanwhile is asked again.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Refused`] holds what the daemon said.
    pub fn credentials(
        &self,
        profile: &str,
        minimum_life: Duration,
        patience: Duration,
    ) -> Result<Answer, Error> {
        let began = now();
        let mut pause = FIRST_PAUSE;
        let mut reason = None;
        loop {
            let left = patience.saturating_sub(began.elapsed());
            let request = for_credentials(profile, minimum_life, left);
            match self.ask(&request, left).and_then(answer) {
                Err(error) if error.is_of_a_restart() && left > pause => {
                    reason = Some(error);
                    thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                // What is left of the patience may be too little for an answer.
                Err(Error::TimedOut) => return Err(reason.unwrap_or(Error::TimedOut)),
                outcome => return outcome,
            }
        }
    }

    /// Asks for credentials of `profile` now and at every rotation. The iterator ends when
    /// the daemon does.
    ///
    /// # Errors
    /// [`Error`], when the question cannot be asked.
    pub fn watch(&self, profile: &str) -> Result<Watch, Error> {
        let mut connection = Connection::open(&self.sockets, PROMPT)?;
        connection.send(&Request::Watch {
            profile: profile.to_owned(),
        })?;
        Ok(Watch::new(connection))
    }

    /// Asks what the daemon is doing, for all profiles.
    ///
    /// # Errors
    /// [`Error`].
    #[cfg(feature = "control")]
    pub fn status(&self) -> Result<Status, Error> {
        let mut connection = Connection::open(&self.sockets, PROMPT)?;
        let mut status = status_after(&mut connection, String::new())?;
        while status.more {
            let last = status.profiles.last().map(|it| it.name.clone());
            let after = last.unwrap_or_default();
            let part = status_after(&mut connection, after.clone())?;
            // A daemon that does not get on would be asked for ever.
            if part.profiles.first().is_none_or(|it| it.name <= after) {
                return Err(Error::Protocol("the status does not get on".to_owned()));
            }
            status.more = part.more;
            status.profiles.extend(part.profiles);
        }
        Ok(status)
    }

    /// Asks who has asked for each profile last, and where the audit's events go. A daemon
    /// that is older than this question says that it is malformed.
    ///
    /// # Errors
    /// [`Error`].
    #[cfg(feature = "control")]
    pub fn audit(&self) -> Result<Audit, Error> {
        let mut connection = Connection::open(&self.sockets, PROMPT)?;
        let mut audit = audit_after(&mut connection, String::new())?;
        while audit.more {
            let last = audit.callers.last().map(|it| it.profile.clone());
            let after = last.unwrap_or_default();
            let part = audit_after(&mut connection, after.clone())?;
            if part.callers.first().is_some_and(|it| it.profile <= after) {
                return Err(Error::Protocol("the audit does not get on".to_owned()));
            }
            audit.more = part.more && !part.callers.is_empty();
            audit.callers.extend(part.callers);
        }
        Ok(audit)
    }

    /// Asks for a renewal now and waits for its outcome for `patience`.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Refused`] says why the renewal failed.
    pub fn refresh(&self, profile: &str, patience: Duration) -> Result<(), Error> {
        let request = Request::Refresh {
            profile: profile.to_owned(),
            patience_millis: millis(patience - TRAVEL.min(patience / 10)),
        };
        done(self.ask(&request, patience)?)
    }

    /// Asks the daemon to read its configuration again.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Refused`] says what is wrong with the configuration, and then
    /// the one in force stays in force.
    pub fn reload(&self) -> Result<(), Error> {
        done(self.ask(&Request::Reload, PROMPT)?)
    }

    /// Asks for the URL by which the credentials of `profile` are had over HTTP.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Refused`] when the daemon answers nobody by HTTP.
    #[cfg(feature = "control")]
    pub fn url(&self, profile: &str) -> Result<Url, Error> {
        let profile = profile.to_owned();
        match self.ask(&Request::Url { profile }, PROMPT)? {
            Reply::Url(url) => Ok(url),
            other => Err(unexpected(other)),
        }
    }

    /// Has all URLs changed: those that were given out before open nothing any more.
    ///
    /// # Errors
    /// [`Error`].
    pub fn rotate_urls(&self) -> Result<(), Error> {
        done(self.ask(&Request::RotateUrls, PROMPT)?)
    }

    fn ask(&self, request: &Request, patience: Duration) -> Result<Reply, Error> {
        let mut connection = Connection::open(&self.sockets, patience)?;
        connection.send(request)?;
        connection.receive()
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

#[cfg(feature = "control")]
fn status_after(connection: &mut Connection, after: String) -> Result<Status, Error> {
    connection.send(&Request::Status { after })?;
    match connection.receive()? {
        Reply::Status(status) => Ok(status),
        other => Err(unexpected(other)),
    }
}

#[cfg(feature = "control")]
fn audit_after(connection: &mut Connection, after: String) -> Result<Audit, Error> {
    connection.send(&Request::Audit { after })?;
    match connection.receive()? {
        Reply::Audit(audit) => Ok(audit),
        other => Err(unexpected(other)),
    }
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

/// What is left when an answer is not the one that was asked for. The reply itself is not
/// told: it may hold credentials.
fn unexpected(reply: Reply) -> Error {
    match reply {
        Reply::Failure(failure) => Error::Refused(failure),
        _ => Error::Protocol("the daemon answered another question".to_owned()),
    }
}
