//! The Unix socket: frames in, frames out. The only room that knows wire types.

mod connection;
mod convert;
mod crowd;
mod inbox;
mod probe;

use std::{future::Future, io, os::fd::AsFd as _, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    task::yield_now,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub use crowd::{Crowd, Share};
pub use probe::probe;

use crate::{
    access::Access,
    audit::{Asked, Audit},
    budget::Budget,
    clock::{BootTime, Clock},
    config::{Mistakes, Profile},
    harden::Protection,
    peer::Peer,
    store::Store,
    supervise::Leased,
};

/// How long accepting rests when the system has no descriptor or memory for one more.
const REST: Duration = Duration::from_millis(100);

/// How long a peer may take over what it has begun: its Hello, the rest of a frame, or
/// the reading of an answer. A greeted peer may rest between requests for as long as it likes.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long connections may take to end when we stop.
const DRAIN: Duration = Duration::from_secs(3);

/// What a peer wants of whoever decides which profiles have a task, and where the outcome
/// goes.
pub enum Order {
    /// The configuration read again.
    Reload(oneshot::Sender<Result<(), Mistakes>>),
    /// A task for a profile that is not configured.
    Lease {
        /// The profile.
        profile: Arc<Profile>,
        /// When the lease ends.
        until: BootTime,
        /// Whose it is.
        uid: u32,
        /// Nothing is told when that user has too many.
        tell: oneshot::Sender<Option<Leased>>,
    },
}

/// What every connection works with.
pub struct Service {
    /// Where credentials are.
    pub store: Arc<Store>,
    /// What limits the calls to STS.
    pub budget: Arc<Budget>,
    /// What the time is.
    pub clock: Arc<dyn Clock>,
    /// Whom we serve.
    pub access: Access,
    /// Who is told of it.
    pub audit: Arc<Audit>,
    /// Where orders go.
    pub orders: mpsc::Sender<Order>,
    /// Who is connected.
    pub crowd: Arc<Crowd>,
    /// The lease that this is the service of.
    pub lease: Option<u64>,
    /// Cancelled when a lease is over.
    pub over: CancellationToken,
    /// What the process has given up, for status.
    pub protections: Vec<Protection>,
    /// The configuration's path, for status.
    pub config_path: String,
    /// When the daemon started.
    pub started: BootTime,
}

/// Serves on all listeners that come until `stop`, then lets the connections end within a
/// bound.
pub async fn serve(
    mut listeners: mpsc::Receiver<UnixListener>,
    service: Arc<Service>,
    stop: CancellationToken,
) {
    let connections = service.crowd.tasks().clone();
    loop {
        let listener = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(listener) = listeners.recv() => listener,
            else => break,
        };
        connections.spawn(accept(listener, Arc::clone(&service), stop.clone()));
    }
    stop.cancelled().await;
    connections.close();
    if timeout(DRAIN, connections.wait()).await.is_err() {
        warn!(left = connections.len(), "connections did not end in time");
    }
}

/// Serves whoever connects, until the daemon stops. In a box, because a connection may hold
/// a lease, and so accept others.
fn accept(
    listener: UnixListener,
    service: Arc<Service>,
    stop: CancellationToken,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(accept_all(listener, service, stop))
}

async fn accept_all(listener: UnixListener, service: Arc<Service>, stop: CancellationToken) {
    let mut resting = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                resting = false;
                let handling = handle(stream, Arc::clone(&service), stop.clone());
                service.crowd.tasks().spawn(handling);
                if service.crowd.is_full() {
                    // Who has to make room does so before the next one is let in.
                    yield_now().await;
                }
            }
            Err(error) => {
                // Said once, not at every try.
                if !resting {
                    warn!("accepting pauses: {error}");
                }
                resting = true;
                sleep(REST).await;
            }
        }
    }
}

/// A broken connection ends only itself.
async fn handle(mut stream: UnixStream, service: Arc<Service>, stop: CancellationToken) {
    let outcome = match Peer::of(&stream, service.clock.boot(), service.lease) {
        Ok(peer) if service.access.may_speak(&peer) => match service.crowd.admit(&peer) {
            Some(seated) => connection::run(&mut stream, &service, &peer, &seated, &stop).await,
            None => connection::refuse(&mut stream, convert::full()).await,
        },
        Ok(peer) => {
            let who = (&peer, stream.as_fd());
            service.audit.refused(Asked::Connection, None, who);
            connection::refuse(&mut stream, convert::not_allowed()).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        debug!("connection ended: {error}");
    }
}

/// Turns a protocol error into the error of a connection.
fn ended(reason: impl std::fmt::Display) -> io::Error {
    io::Error::other(reason.to_string())
}
