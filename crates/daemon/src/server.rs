//! The Unix socket: frames in, frames out. The only room that knows wire types.

mod connection;
mod convert;
mod idle;
mod probe;

use std::{
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::Arc,
    time::Duration,
};

use stsd_wire::Failure;
use tokio::{net::UnixListener, sync::mpsc, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub(crate) use convert::prepare;
pub use idle::Idle;
pub use probe::probe;

use connection::Connection;
use idle::Guest;

use crate::{
    accept::{self, Door},
    audit::Asked,
    crowd::Seated,
    http,
    listen::Speaks,
    peer::Peer,
    service::Service,
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
    // Ended when this is.
    let mut keepers = JoinSet::new();
    keepers.spawn(Arc::clone(&service.idle).answer());
    keepers.spawn(Arc::clone(&service.idle).hurry(Arc::clone(&service.clock)));
    keepers.spawn(Arc::clone(&service.idle).part(Arc::clone(&service.crowd)));
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
    let door = match listener.into_std().and_then(Door::new) {
        Ok(door) => door,
        Err(error) => return warn!("a socket cannot be served: {error}"),
    };
    let handle = |stream| let_in(stream, &service);
    accept::all(door, &service.crowd, &stop, handle).await;
}

/// Decides at once who is let in, and answers whoever has asked by then. A broken connection
/// ends only itself.
fn let_in(stream: UnixStream, service: &Arc<Service>) {
    match admit(&stream, service) {
        Ok((peer, seated)) => {
            let connection = Connection::new(stream, Arc::clone(service), peer);
            service.idle.take_in(Guest::new(connection, seated));
        }
        Err(Some(failure)) => connection::refuse(&stream, &failure),
        Err(None) => {}
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
