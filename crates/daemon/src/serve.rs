//! The sockets, and the answers from memory.

mod accept;
pub mod connection_limit;
pub mod context;
pub mod http;
pub mod socket;

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use tokio::{net::UnixListener, sync::mpsc, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use self::{context::ServerContext, socket::ReactorHandle};
use crate::runtime::listener::Protocol;

/// Bound on the time that connections may take to end after a stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Serves on each listener that arrives until `stop`, then waits for the connections to end, for
/// `DRAIN_TIMEOUT` at most.
pub async fn serve(
    mut listeners: mpsc::Receiver<(Protocol, UnixListener)>,
    context: Arc<ServerContext>,
    reactor: Arc<ReactorHandle>,
    stop: CancellationToken,
) {
    let connections = context.limiter.tasks().clone();
    // Aborted when this function returns.
    let mut background = JoinSet::new();
    background.spawn(Arc::clone(&reactor).run_offloaded());
    background.spawn(forward_evictions(
        Arc::clone(&context),
        Arc::clone(&reactor),
    ));
    loop {
        let (protocol, listener) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(listener) = listeners.recv() => listener,
            else => break,
        };
        match protocol {
            Protocol::Http => {
                let (context, stop) = (Arc::clone(&context), stop.clone());
                connections.spawn(http::accept_unix(listener, context, stop));
            }
            Protocol::Frames => match listener.into_std().map(OwnedFd::from) {
                Ok(listener) => reactor.add_listener(listener, Arc::clone(&context)),
                Err(error) => error!("cannot use a listening socket: {error}"),
            },
        }
    }
    stop.cancelled().await;
    reactor.stop_accepting();
    context.limiter.stop();
    connections.close();
    if timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        warn!(
            left = connections.len(),
            "connections did not end within {} s",
            DRAIN_TIMEOUT.as_secs()
        );
    }
}

/// Has the event loop close evicted connections; never ends.
async fn forward_evictions(context: Arc<ServerContext>, reactor: Arc<ReactorHandle>) {
    loop {
        context.limiter.next_eviction().await;
        reactor.close_evicted();
    }
}
