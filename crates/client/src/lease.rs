//! A lease: it is requested, receives a socket, and lasts until it expires or is dropped.

use std::{
    fmt,
    os::{fd::AsFd as _, unix::net::UnixListener},
    time::Duration,
};

use stsd_wire::Request;

use crate::{Client, Error, TRAVEL, connection::Connection, done, millis};

/// A lease that the daemon has granted: it serves one profile on a second socket. The lease ends
/// when this value is dropped.
pub struct Lease(Connection);

impl Client {
    /// Requests a lease of `profile` for `ttl`, narrowed by `policy`, a session policy in JSON;
    /// `None` if the profile has a policy of its own. Returns within `patience`.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Refused`] holds the reason for which the lease was not granted.
    pub fn lease(
        &self,
        profile: &str,
        policy: Option<&str>,
        ttl: Duration,
        patience: Duration,
    ) -> Result<Lease, Error> {
        self.with_retries(self.wait, patience, |mut connection, left| {
            connection.send(&Request::Lease {
                profile: profile.to_owned(),
                policy: policy.map(str::to_owned),
                ttl_millis: millis(ttl),
                patience_millis: millis(left - TRAVEL.min(left / 10)),
            })?;
            done(connection.receive()?)?;
            Ok(Lease(connection))
        })
    }
}

impl Lease {
    /// Makes the daemon serve the clients that connect to `listener`. The caller chooses the
    /// socket's owner and permissions; the daemon serves the caller's user and root only.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(&mut self, listener: &UnixListener) -> Result<(), Error> {
        self.0.pass(listener.as_fd())?;
        done(self.0.receive()?)
    }

    /// Waits until the lease expires.
    ///
    /// # Errors
    /// [`Error`] when the lease ends earlier; it can be requested again if
    /// [`Error::is_of_a_restart`] returns `true`.
    pub fn until_over(mut self) -> Result<(), Error> {
        self.0.wait_for_ever();
        done(self.0.receive()?)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lease = f.debug_struct("Lease");
        lease
            .field("socket", &self.0.socket)
            .finish_non_exhaustive()
    }
}
