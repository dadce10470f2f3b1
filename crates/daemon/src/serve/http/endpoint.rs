//! The state of the loopback endpoint: its address, its secret and its counters.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener as StdTcpListener},
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    sync::Mutex,
};

use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{request_filter::Rejection, socket_owner::SocketOwnerLookup, url_secret::UrlSecret};
use crate::runtime::sync::lock;

/// Maximum number of rejected connections that receive the reason at the same time; others are
/// closed at once. Rejected connections hold no permit, and must not use up the descriptors of
/// connections with a permit.
const MAX_REJECTED: usize = 64;

/// The loopback endpoint: its address, its secret and its counters.
pub struct HttpEndpoint {
    secret: UrlSecret,
    pub(super) owners: SocketOwnerLookup,
    pub(super) listener: Mutex<ListenerState>,
    rejections: Mutex<BTreeMap<&'static str, u64>>,
    /// A socket for the access rules, which do not use it for a resolved peer.
    pub(super) placeholder: OwnedFd,
    /// One permit for each rejected connection that receives the reason.
    pub(super) rejected_slots: Semaphore,
}

/// The state of the loopback listener.
#[derive(Default)]
pub(super) struct ListenerState {
    /// The configured address.
    pub(super) configured: Option<SocketAddr>,
    /// The bound address; differs from the configured one for port 0.
    pub(super) address: Option<SocketAddr>,
    /// Ends accepting at that address.
    pub(super) stop: CancellationToken,
    /// The listener of the previous process, or a copy of this one's for the next process.
    pub(super) inheritable: Option<StdTcpListener>,
}

impl HttpEndpoint {
    /// Creates an endpoint that does not listen yet. `inherited` is the listener of the previous
    /// process.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new(secret: UrlSecret, inherited: Option<StdTcpListener>) -> io::Result<Self> {
        Ok(Self {
            placeholder: StdUnixStream::pair()?.0.into(),
            secret,
            owners: SocketOwnerLookup::new(),
            listener: Mutex::new(ListenerState {
                inheritable: inherited,
                ..ListenerState::default()
            }),
            rejections: Mutex::default(),
            rejected_slots: Semaphore::new(MAX_REJECTED),
        })
    }

    /// Returns the secret of the URLs.
    #[must_use]
    pub fn secret(&self) -> &UrlSecret {
        &self.secret
    }

    /// Returns the address of the loopback listener; `None` without one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        lock(&self.listener).address
    }

    /// Returns a copy of the loopback listener for the next process.
    #[must_use]
    pub fn try_clone_listener(&self) -> Option<StdTcpListener> {
        lock(&self.listener).inheritable.as_ref()?.try_clone().ok()
    }

    /// Returns the number of rejected requests by reason.
    #[must_use]
    pub fn rejections(&self) -> Vec<(&'static str, u64)> {
        let rejections = lock(&self.rejections);
        let counts = rejections.iter().map(|(reason, count)| (*reason, *count));
        counts.collect()
    }

    /// Records a bound listener, and keeps a copy for the next process.
    pub(super) fn open(&self, listener: StdTcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let mut state = lock(&self.listener);
        state.inheritable = Some(listener.try_clone()?);
        state.address = Some(address);
        info!(%address, "serving HTTP");
        self.secret.save();
        TcpListener::from_std(listener)
    }

    /// Counts a rejected request; the first one of each reason is logged.
    pub(super) fn count(&self, rejection: Rejection) {
        let mut rejections = lock(&self.rejections);
        let count = rejections.entry(rejection.name()).or_default();
        *count += 1;
        if *count == 1 {
            warn!(reason = rejection.name(), "an HTTP request was rejected");
        }
    }
}
