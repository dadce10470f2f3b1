//! The Unix socket: frames in, frames out. The only room that knows wire types.

mod connection;
mod convert;
mod inbox;
mod probe;

use std::{io, os::fd::AsFd as _, sync::Arc, time::Duration};

use stsd_wire::Failure;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

pub use probe::probe;

use crate::{
    access::Access,
    audit::{Asked, Audit},
    budget::Budget,
    clock::{BootTime, Clock},
    config::Mistakes,
    harden::Protection,
    peer::Peer,
    store::Store,
};

/// How long accepting rests when the system has no descriptor or memory for one more.
const REST: Duration = Duration::from_millis(100);

/// How long a peer may take over what it has begun: its Hello, the rest of a frame, or
/// the reading of an answer. A greeted peer may rest between requests for as long as it likes.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long connections may take to end when we stop.
const DRAIN: Duration = Duration::from_secs(3);

/// A wish to read the configuration again, and where its outcome goes.
pub type ReloadRequest = oneshot::Sender<Result<(), Mistakes>>;

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
    /// Where a wish to reload goes.
    pub reload: mpsc::Sender<ReloadRequest>,
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
    let connections = TaskTracker::new();
    loop {
        let listener = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(listener) = listeners.recv() => listener,
            else => break,
        };
        let accepting = accept(
            listener,
            Arc::clone(&service),
            connections.clone(),
            stop.clone(),
        );
        connections.spawn(accepting);
    }
    stop.cancelled().await;
    connections.close();
    if timeout(DRAIN, connections.wait()).await.is_err() {
        warn!(left = connections.len(), "connections did not end in time");
    }
}

async fn accept(
    listener: UnixListener,
    service: Arc<Service>,
    connections: TaskTracker,
    stop: CancellationToken,
) {
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
                connections.spawn(handle(stream, Arc::clone(&service), stop.clone()));
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
    let outcome = match Peer::of(&stream, service.clock.boot()) {
        Ok(peer) if service.access.may_speak(&peer) => {
            connection::run(&mut stream, &service, &peer, &stop).await
        }
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

/// What a caller is told when the daemon stops under it.
fn stopping() -> Failure {
    convert::failure(
        stsd_wire::FailureKind::Busy,
        "the daemon is stopping",
        "ask again; it may be restarting",
    )
}

/// Turns a protocol error into the error of a connection.
fn ended(reason: impl std::fmt::Display) -> io::Error {
    io::Error::other(reason.to_string())
}
