//! Decides how callers are let in, and what is done when the system has no room for one
//! more.

use std::{
    future::Future,
    io,
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream},
    },
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    time::Duration,
};

use rustix::net::{SocketFlags, accept_with};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::yield_now,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{crowd::Crowd, ready};

/// How long accepting rests when the system has no descriptor or memory for one more.
const REST: Duration = Duration::from_millis(100);

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

/// A Unix socket whose callers have no part in the runtime.
pub(crate) struct Door(AsyncFd<OwnedFd>);

impl Door {
    pub(crate) fn new(listener: StdUnixListener) -> io::Result<Self> {
        ready::watched(listener.into(), Interest::READABLE).map(Self)
    }
}

impl Listener for Door {
    type Stream = StdUnixStream;

    async fn next(&self) -> io::Result<StdUnixStream> {
        const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);
        let accept = |door: &OwnedFd| Ok(accept_with(door, FLAGS)?.into());
        self.0.async_io(Interest::READABLE, accept).await
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
