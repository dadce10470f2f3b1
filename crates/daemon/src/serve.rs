//! The sockets, and the answers from memory.

mod accept;
pub mod call_limit;
pub mod connection_limit;
pub mod context;
mod daemon_metrics;
mod duration_histogram;
pub mod http;
pub(crate) mod metrics;
pub mod socket;

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use stsd_secret::trim_heap;
use tokio::{
    net::UnixListener,
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use self::{context::ServerContext, socket::ReactorHandle};
use crate::runtime::listener::Protocol;

/// Bound on the time that connections may take to end after a stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Pause between the end of most connections and the release of their memory: others end meanwhile,
/// and a peak that repeats is released less often.
const RELEASE_DELAY: Duration = Duration::from_secs(5);

/// A background task of the sockets has ended, without which some requests are never answered.
#[derive(Debug, thiserror::Error)]
#[error("a task of the sockets has ended: {0}")]
pub struct ServeError(String);

/// Serves on each listener that arrives until `stop`, then waits for the connections to end, for
/// `DRAIN_TIMEOUT` at most.
///
/// # Errors
/// [`ServeError`], after the connections have ended.
pub async fn serve(
    mut listeners: mpsc::Receiver<(Protocol, UnixListener)>,
    context: Arc<ServerContext>,
    reactor: Arc<ReactorHandle>,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let connections = context.limiter.tasks().clone();
    // Aborted when this function returns.
    let mut background = JoinSet::new();
    background.spawn(Arc::clone(&reactor).run_offloaded());
    background.spawn(forward_evictions(
        Arc::clone(&context),
        Arc::clone(&reactor),
    ));
    background.spawn(release_memory(Arc::clone(&context), Arc::clone(&reactor)));
    let served = loop {
        let (protocol, listener) = tokio::select! {
            biased;
            () = stop.cancelled() => break Ok(()),
            Some(listener) = listeners.recv() => listener,
            Some(ended) = background.join_next() => break Err(ServeError::from(ended)),
            else => break Ok(()),
        };
        match protocol {
            Protocol::Http => {
                let (context, stop) = (Arc::clone(&context), stop.clone());
                background.spawn(http::accept_unix(listener, context, stop));
            }
            Protocol::Frames => match listener.into_std().map(OwnedFd::from) {
                Ok(listener) => reactor.add_listener(listener, Arc::clone(&context)),
                Err(error) => error!("cannot use a listening socket: {error}"),
            },
        }
    };
    match served {
        Ok(()) => stop.cancelled().await,
        Err(_) => stop.cancel(),
    }
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
    served
}

impl From<Result<(), JoinError>> for ServeError {
    fn from(ended: Result<(), JoinError>) -> Self {
        Self(match ended {
            Ok(()) => "it has returned".to_owned(),
            Err(bug) => bug.to_string(),
        })
    }
}

/// Returns the memory of connections to the system after most connections of a peak have ended;
/// never ends. An allocator keeps freed memory, because the next peak may need it.
async fn release_memory(context: Arc<ServerContext>, reactor: Arc<ReactorHandle>) {
    loop {
        context.limiter.peak_ended().await;
        sleep(RELEASE_DELAY / 2).await;
        reactor.shrink();
        context.limiter.shrink();
        // The event loop has shrunk its tables by then.
        sleep(RELEASE_DELAY / 2).await;
        trim_heap();
    }
}

/// Has the event loop close evicted connections; never ends.
async fn forward_evictions(context: Arc<ServerContext>, reactor: Arc<ReactorHandle>) {
    loop {
        context.limiter.next_eviction().await;
        reactor.close_evicted(Arc::clone(&context.limiter));
    }
}
