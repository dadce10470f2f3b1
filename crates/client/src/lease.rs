//! Decides how a lease is held: asked for, given a socket, kept until it is over.

use std::{
    os::{fd::AsFd as _, unix::net::UnixListener},
    time::Duration,
};

use stsd_wire::Request;

use crate::{Client, Error, TRAVEL, connection::Connection, done, millis};

/// A grant to have a second socket answer one profile. It ends when this is dropped.
pub struct Lease(Connection);

impl Client {
    /// Asks for a lease of `profile` for `ttl`, narrowed by `policy`, a session policy in
    /// JSON; none where the profile has a policy of its own. Returns within `patience`.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Refused`] says why there is no lease.
    pub fn lease(
        &self,
        profile: &str,
        policy: Option<&str>,
        ttl: Duration,
        patience: Duration,
    ) -> Result<Lease, Error> {
        let mut connection = Connection::open(&self.sockets, patience)?;
        connection.send(&Request::Lease {
            profile: profile.to_owned(),
            policy: policy.map(str::to_owned),
            ttl_millis: millis(ttl),
            patience_millis: millis(patience - TRAVEL.min(patience / 10)),
        })?;
        done(connection.receive()?)?;
        Ok(Lease(connection))
    }
}

impl Lease {
    /// Has the daemon answer whoever connects to `listener`. Whose file that socket is and
    /// who may open it is the caller's to decide; the daemon answers the caller's user and
    /// root.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(&mut self, listener: &UnixListener) -> Result<(), Error> {
        self.0.pass(listener.as_fd())?;
        done(self.0.receive()?)
    }

    /// Waits until the lease's time is over.
    ///
    /// # Errors
    /// [`Error`], when it has ended before; [`Error::is_of_a_restart`] tells whether it can be
    /// asked for again.
    pub fn until_over(mut self) -> Result<(), Error> {
        self.0.wait_for_ever();
        done(self.0.receive()?)
    }
}
