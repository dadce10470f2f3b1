//! The Unix socket: frames in, frames out. The only room that knows wire types.

mod connection;
mod handlers;
mod reactor;
mod self_check;
mod wire_convert;

use std::{
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    time::Duration,
};

use stsd_wire::Failure;
use tokio::{net::UnixListener, sync::mpsc, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

pub(crate) use self::wire_convert::prepare;
use self::{connection::Connection, reactor::Guest};
pub use self::{reactor::Front, self_check::probe};
use crate::{
    access::peer::Peer,
    audit::Operation,
    platform::sockets::Protocol,
    serve::{connection_limit::Seated, context::Service, http},
};

/// How long a peer may take over what it has begun: its Hello, the rest of a frame, or
/// the reading of an answer. A greeted peer may rest between requests for as long as it likes.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long connections may take to end when we stop.
const DRAIN: Duration = Duration::from_secs(3);

/// Serves on all listeners that come until `stop`, then lets the connections end within a
/// bound.
pub async fn serve(
    mut listeners: mpsc::Receiver<(Protocol, UnixListener)>,
    service: Arc<Service>,
    stop: CancellationToken,
) {
    let (connections, front) = (service.crowd.tasks().clone(), &service.front);
    // Ended when this is.
    let mut keepers = JoinSet::new();
    keepers.spawn(Arc::clone(front).take_up());
    keepers.spawn(part(Arc::clone(&service)));
    loop {
        let (speaks, listener) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(listener) = listeners.recv() => listener,
            else => break,
        };
        match speaks {
            Protocol::Http => {
                let (service, stop) = (Arc::clone(&service), stop.clone());
                connections.spawn(http::accept_unix(listener, service, stop));
            }
            Protocol::Frames => {
                let listener = listener.into_std().map(OwnedFd::from);
                match listener {
                    Ok(listener) => front.open(listener, Arc::clone(&service)),
                    Err(error) => error!("nobody is let in by a socket: {error}"),
                }
            }
        }
    }
    stop.cancelled().await;
    front.close();
    service.crowd.stop();
    connections.close();
    if timeout(DRAIN, connections.wait()).await.is_err() {
        warn!(left = connections.len(), "connections did not end in time");
    }
}

/// Tells those good-bye who have to leave, for ever.
async fn part(service: Arc<Service>) {
    loop {
        service.crowd.somebody_leaves().await;
        service.front.part();
    }
}

/// Decides who is let in; whoever is not is told so. A broken connection ends only itself.
fn admit(stream: UnixStream, service: &Arc<Service>) -> Option<Guest> {
    match seat(&stream, service) {
        Ok((peer, seated)) => {
            let connection = Connection::new(stream, Arc::clone(service), peer);
            Some(Guest::new(connection, seated))
        }
        Err(failure) => {
            if let Some(failure) = failure {
                connection::refuse(&stream, &failure);
            }
            None
        }
    }
}

/// Returns who came and its place, or what it is told instead, if anything.
fn seat(stream: &UnixStream, service: &Service) -> Result<(Peer, Seated), Option<Box<Failure>>> {
    let peer = Peer::of(stream, service.clock.boot(), service.lease).map_err(|error| {
        debug!("connection ended: {error}");
        None
    })?;
    let refused = |failure| {
        let who = (&peer, stream.as_fd());
        service.audit.refused(Operation::Connection, None, who);
        Some(Box::new(failure))
    };
    if !service.access.can_connect(&peer) {
        return Err(refused(wire_convert::not_allowed()));
    }
    if service.lease.is_some() && service.over.is_cancelled() {
        return Err(Some(Box::new(wire_convert::lease_over())));
    }
    match service.crowd.admit(&peer) {
        Some(seated) => Ok((peer, seated)),
        None => Err(refused(wire_convert::full())),
    }
}
