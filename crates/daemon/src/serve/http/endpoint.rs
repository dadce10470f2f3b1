//! The loopback endpoint: its listener, its secrets and its counters.

use std::{
    collections::BTreeMap,
    io, mem,
    net::{SocketAddr, TcpListener as StdTcpListener},
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    sync::{Arc, Mutex},
};

use nix::unistd::geteuid;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    listener_state::{ListenerState, holder_name},
    request_filter::Rejection,
    socket_owner::SocketOwnerLookup,
    url_secrets::{RotateError, UrlSecrets},
};
use crate::runtime::{
    clock::Clock,
    conditions::{Condition, Conditions},
    listener::LISTEN_BACKLOG,
    sync::lock,
};

/// Maximum number of rejected connections that receive the reason at the same time; others are
/// closed at once. Rejected connections hold no permit, and must not use up the descriptors of
/// connections with a permit.
const MAX_REJECTED: usize = 64;

/// The loopback endpoint: its listener, its secrets and its counters.
pub struct HttpEndpoint {
    secrets: UrlSecrets,
    pub(super) owners: SocketOwnerLookup,
    listener: Mutex<Listener>,
    rejections: Mutex<BTreeMap<&'static str, u64>>,
    /// A socket for the access rules, which do not use it for a resolved peer.
    pub(super) placeholder: OwnedFd,
    /// One permit for each rejected connection that receives the reason.
    pub(super) rejected_slots: Semaphore,
    clock: Arc<dyn Clock>,
    conditions: Arc<Conditions>,
}

/// The loopback listener.
#[derive(Default)]
struct Listener {
    /// The configured address.
    configured: Option<SocketAddr>,
    state: ListenerState,
    /// Ends accepting at that address.
    stop: CancellationToken,
    /// The listener of the previous process, or a copy of this one's for the next process.
    inheritable: Option<StdTcpListener>,
    /// A user other than the daemon's that has listened at the address, and may know URLs.
    stranger: Option<(SocketAddr, u32)>,
}

/// A configuration of the listener that takes effect.
pub(super) struct Reconfigured {
    /// Ends accepting at the new address.
    pub(super) stop: CancellationToken,
    /// The listener of the previous process.
    pub(super) inherited: Option<StdTcpListener>,
}

impl HttpEndpoint {
    /// Creates an endpoint that does not listen yet. `inherited` is the listener of the previous
    /// process.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new(
        secrets: UrlSecrets,
        inherited: Option<StdTcpListener>,
        clock: Arc<dyn Clock>,
        conditions: Arc<Conditions>,
    ) -> io::Result<Self> {
        Ok(Self {
            placeholder: StdUnixStream::pair()?.0.into(),
            secrets,
            owners: SocketOwnerLookup::new(),
            listener: Mutex::new(Listener {
                inheritable: inherited,
                ..Listener::default()
            }),
            rejections: Mutex::default(),
            rejected_slots: Semaphore::new(MAX_REJECTED),
            clock,
            conditions,
        })
    }

    /// Returns the secrets of the URLs.
    #[must_use]
    pub fn secrets(&self) -> &UrlSecrets {
        &self.secrets
    }

    /// Returns the state of the loopback listener.
    #[must_use]
    pub fn state(&self) -> ListenerState {
        lock(&self.listener).state.clone()
    }

    /// Returns the address of the loopback listener; `None` without one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        lock(&self.listener).state.bound()
    }

    /// Returns the events that have ended URLs, or will end them, in words with the fix.
    #[must_use]
    pub fn remarks(&self) -> Vec<(String, &'static str)> {
        let mut remarks = Vec::new();
        if let Some((address, uid)) = lock(&self.listener).stranger {
            let user = holder_name(Some(uid));
            remarks.push(if self.secrets.is_configured() {
                (
                    format!("{user} has listened at {address}, and may know URLs"),
                    "write a new secret into http.secret_file, then stsctl reload",
                )
            } else {
                (
                    format!("{user} has listened at {address}: all URLs have been replaced"),
                    "give programs their URLs anew: stsctl setup TOOL PROFILE --write, stsctl url",
                )
            });
        }
        if let Some(problem) = self.secrets.not_kept() {
            remarks.push((
                format!("the URLs change with a reboot: {problem}"),
                "give stsd a state directory that stsd alone can write to, and no other user above it, then \
                 restart stsd",
            ));
        }
        remarks
    }

    /// Replaces all secrets on request.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn rotate(&self) -> Result<(), RotateError> {
        let outcome = self.secrets.rotate();
        if outcome.is_ok() {
            lock(&self.listener).stranger = None;
        }
        outcome
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

    /// Applies a configured address; `None` if the listener stays as it is. An address that could
    /// not be bound is applied again.
    pub(super) fn reconfigure(
        &self,
        configured: Option<SocketAddr>,
        stop: &CancellationToken,
    ) -> Option<Reconfigured> {
        let mut listener = lock(&self.listener);
        let is_settled = configured.is_none() || listener.state.bound().is_some();
        if listener.configured == configured && is_settled {
            return None;
        }
        listener.stop.cancel();
        let inherited = listener.inheritable.take();
        // The next attempt logs only what is new.
        let is_retry = listener.configured == configured;
        if !is_retry {
            self.conditions.recover(Condition::HttpEndpoint);
        }
        let state = mem::take(&mut listener.state);
        *listener = Listener {
            configured,
            state: if is_retry {
                state
            } else {
                ListenerState::default()
            },
            stop: stop.child_token(),
            stranger: listener.stranger,
            ..Listener::default()
        };
        Some(Reconfigured {
            stop: listener.stop.clone(),
            inherited,
        })
    }

    /// Binds a listener with the backlog of the Unix sockets, and records a failure.
    /// `SO_REUSEADDR` permits the port of a daemon that has just ended. A lookup of the port's
    /// holder may block.
    pub(super) fn bind(&self, configured: SocketAddr) -> io::Result<StdTcpListener> {
        let bound = try_bind(configured);
        if let Err(error) = &bound {
            self.record_failure(configured, error);
        }
        bound
    }

    /// Records a bound listener, and keeps a copy for the next process.
    pub(super) fn open(&self, bound: StdTcpListener) -> io::Result<TcpListener> {
        bound.set_nonblocking(true)?;
        let address = bound.local_addr()?;
        let copy = bound.try_clone()?;
        let opened = TcpListener::from_std(bound)?;
        {
            let mut listener = lock(&self.listener);
            listener.inheritable = Some(copy);
            listener.state = ListenerState::Listening(address);
            self.conditions.recover(Condition::HttpEndpoint);
        }
        info!(%address, "serving HTTP");
        Ok(opened)
    }

    /// Records that the address cannot be bound. The secrets are replaced if another user listens
    /// at the address: programs with a URL send the secret to that user.
    pub(super) fn record_failure(&self, address: SocketAddr, error: &io::Error) {
        let state = if error.kind() == io::ErrorKind::AddrInUse {
            let holder = self.owners.listener(address);
            ListenerState::PortTaken { address, holder }
        } else {
            let error = error.to_string();
            ListenerState::Failed { address, error }
        };
        let stranger = match state {
            ListenerState::PortTaken { holder, .. } => {
                holder.filter(|uid| *uid != geteuid().as_raw())
            }
            _ => None,
        };
        let is_new = {
            let mut listener = lock(&self.listener);
            // A reload has changed the address meanwhile.
            if listener.configured != Some(address) {
                return;
            }
            if let Some((problem, hint)) = state.problem() {
                let now = self.clock.boot();
                self.conditions
                    .fail(Condition::HttpEndpoint, &problem, hint, now);
                if listener.state != state {
                    warn!("{problem}; the daemon tries again (hint: {hint})");
                }
            }
            listener.state = state;
            let stranger = stranger.map(|uid| (address, uid));
            let is_new = stranger.is_some() && listener.stranger != stranger;
            listener.stranger = stranger.or(listener.stranger);
            is_new
        };
        if let Some(uid) = stranger.filter(|_| is_new) {
            self.replace_known_secrets(address, uid);
        }
    }

    fn replace_known_secrets(&self, address: SocketAddr, uid: u32) {
        let user = holder_name(Some(uid));
        match self.secrets.rotate() {
            Ok(()) => warn!("{user} listens at {address}: all URLs have been replaced"),
            Err(error) => error!(
                "{user} listens at {address}, and may know URLs: {error} (hint: {})",
                error.hint()
            ),
        }
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

fn try_bind(address: SocketAddr) -> io::Result<StdTcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(LISTEN_BACKLOG)?.into_std()
}
