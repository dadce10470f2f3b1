//! Decides how callers are let in, and what is done when the system has no room for one
//! more.

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
use tracing::{error, warn};

use crate::serve::connection_limit::Crowd;

/// How long accepting rests when the system has no descriptor or memory for one more.
pub(crate) const REST: Duration = Duration::from_millis(100);

/// Where callers come in.
pub(crate) trait Listener {
    /// What one of them is then spoken to by.
    type Stream;

    /// Waits for the next one.
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

/// Lets in whoever comes until `stop`.
pub(crate) async fn all<L: Listener>(
    listener: L,
    crowd: &Crowd,
    stop: &CancellationToken,
    handle: impl Fn(L::Stream),
) {
    let mut resting = false;
    // Listened to once, not anew for everybody who comes.
    let mut stopped = pin!(stop.cancelled());
    loop {
        let next = tokio::select! {
            biased;
            () = &mut stopped => return,
            next = listener.next() => next,
        };
        match next {
            Ok(stream) => {
                resting = false;
                // A bug that the first request of one meets must not end this for all.
                if catch_unwind(AssertUnwindSafe(|| handle(stream))).is_err() {
                    error!("a bug ended a connection");
                }
                if crowd.is_full() {
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
