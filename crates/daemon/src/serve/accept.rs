//! The accept loop of the sockets that hyper serves, with a back-off for `EMFILE` and `ENOMEM`.

use std::{
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::yield_now,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::serve::connection_limit::ConnectionLimiter;

/// Pause after `accept` has failed because the system has no descriptor or memory left.
pub(crate) const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A socket that accepts connections.
pub(crate) trait Listener {
    /// An accepted connection.
    type Stream;

    /// Waits for the next connection.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Accepts connections until `stop`.
pub(crate) async fn accept_loop<L: Listener>(
    listener: L,
    limiter: &ConnectionLimiter,
    stop: &CancellationToken,
    handle: impl Fn(L::Stream),
) {
    let mut backoff_logged = false;
    // Registered once, not once for each connection.
    let mut stopped = pin!(stop.cancelled());
    loop {
        let next = tokio::select! {
            biased;
            () = &mut stopped => return,
            next = listener.next() => next,
        };
        match next {
            Ok(stream) => {
                if std::mem::take(&mut backoff_logged) {
                    info!("accepting again");
                }
                // A panic of one connection must not end the loop.
                if catch_unwind(AssertUnwindSafe(|| handle(stream))).is_err() {
                    error!("a bug ended a connection");
                }
                if limiter.is_full() {
                    // An evicted connection closes before the next one is accepted.
                    yield_now().await;
                }
            }
            Err(error) => {
                // Logged once, not for each attempt.
                if !backoff_logged {
                    warn!("accepting pauses: {error}");
                }
                backoff_logged = true;
                sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}
