//! The Unix socket: frames in, frames out. The only room that knows wire types.

mod connection;
mod convert;
mod probe;

use std::{future::Future, io, os::fd::AsFd as _, pin::Pin, sync::Arc, time::Duration};

use stsd_wire::Failure;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub(crate) use convert::prepare;
pub use probe::probe;

use connection::{Connection, refuse};

use crate::{
    accept, audit::Asked, crowd::Seated, http, listen::Speaks, peer::Peer, service::Service,
};

/// How long a peer may take over what it has begun: its Hello, the rest of a frame, or
/// the reading of an answer. A greeted peer may rest between requests for as long as it likes.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long connections may take to end when we stop.
const DRAIN: Duration = Duration::from_secs(3);

/// Serves on all listeners that come until `stop`, then lets the connections end within a
/// bound.
pub async fn serve(
    mut listeners: mpsc::Receiver<(Speaks, UnixListener)>,
    service: Arc<Service>,
    stop: CancellationToken,
) {
    let connections = service.crowd.tasks().clone();
    loop {
        let (speaks, listener) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(listener) = listeners.recv() => listener,
            else => break,
        };
        let (service, stop) = (Arc::clone(&service), stop.clone());
        match speaks {
            Speaks::Frames => connections.spawn(accept(listener, service, stop)),
            Speaks::Http => connections.spawn(http::accept_unix(listener, service, stop)),
        };
    }
    stop.cancelled().await;
    service.crowd.stop();
    connections.close();
    if timeout(DRAIN, connections.wait()).await.is_err() {
        warn!(left = connections.len(), "connections did not end in time");
    }
}

async fn accept(listener: UnixListener, service: Arc<Service>, stop: CancellationToken) {
    let handle = |stream| handle(stream, Arc::clone(&service));
    accept::all(listener, &service.crowd, &stop, handle).await;
}

/// Serves one who came by a lease. In a box, because a connection may hold a lease, and so
/// serve others.
fn by_lease(stream: UnixStream, service: Arc<Service>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(handle(stream, service))
}

/// Decides at once who is let in, so that a task has nothing but what its connection needs,
/// and answers whoever has asked by then. A broken connection ends only itself.
fn handle(stream: UnixStream, service: Arc<Service>) -> impl Future<Output = ()> + Send {
    let mut admitted = match admit(&stream, &service) {
        Ok((peer, seated)) => Ok((Connection::open(stream, service, peer), seated)),
        Err(failure) => Err((stream, failure)),
    };
    // A block, because the arguments of an async function are held twice.
    async move {
        let outcome = match &mut admitted {
            Ok((connection, seated)) => connection.run(seated).await,
            Err((stream, Some(failure))) => Box::pin(refuse(stream, failure)).await,
            Err((_, None)) => Ok(()),
        };
        if let Err(error) = outcome {
            debug!("connection ended: {error}");
        }
    }
}

/// Returns who came and its place, or what it is told instead, if anything.
fn admit(stream: &UnixStream, service: &Service) -> Result<(Peer, Seated), Option<Box<Failure>>> {
    let peer = Peer::of(stream, service.clock.boot(), service.lease).map_err(|error| {
        debug!("connection ended: {error}");
        None
    })?;
    let refused = |failure| {
        let who = (&peer, stream.as_fd());
        service.audit.refused(Asked::Connection, None, who);
        Some(Box::new(failure))
    };
    if !service.access.may_speak(&peer) {
        return Err(refused(convert::not_allowed()));
    }
    if service.over.is_cancelled() {
        return Err(Some(Box::new(convert::lease_over())));
    }
    match service.crowd.admit(&peer) {
        Some(seated) => Ok((peer, seated)),
        None => Err(refused(convert::full())),
    }
}

/// Turns a protocol error into the error of a connection.
fn ended(reason: impl std::fmt::Display) -> io::Error {
    io::Error::other(reason.to_string())
}
