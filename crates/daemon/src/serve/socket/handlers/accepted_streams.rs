//! Accepts the connections of a lease's socket on a thread of its own. The client shares the socket
//! with all its flags: a client that clears `O_NONBLOCK`, or calls `shutdown`, must stop only its
//! own lease.

use std::{
    io::{self, ErrorKind},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    sync::Arc,
    thread,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::net::{SocketFlags, accept_with};
use tokio::sync::mpsc;

use crate::session::lease::LeaseHandle;

/// Stack of the accept thread, which calls poll(2) and accept4(2) only.
const STACK_BYTES: usize = 128 * 1024;

/// Maximum number of accepted connections that the daemon has not taken yet.
const ACCEPT_QUEUE: usize = 16;

/// Pause after `accept` has failed because the system has no descriptor or memory left.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// The accepted connections. The accept thread ends when this is dropped.
pub(super) struct AcceptedStreams {
    streams: mpsc::Receiver<UnixStream>,
    /// The accept thread polls the other end as well.
    _wake: UnixStream,
}

impl AcceptedStreams {
    /// Returns the next connection; `None` if the socket does not listen any more.
    pub(super) async fn next(&mut self) -> Option<UnixStream> {
        self.streams.recv().await
    }
}

/// Starts a thread that accepts connections until the lease is revoked or the socket does not
/// listen any more. The lease counts as held until the thread has ended.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn accept(
    listener: UnixListener,
    lease: Arc<LeaseHandle>,
) -> io::Result<AcceptedStreams> {
    let (sender, streams) = mpsc::channel(ACCEPT_QUEUE);
    let (wake, woken) = UnixStream::pair()?;
    let thread = thread::Builder::new()
        .stack_size(STACK_BYTES)
        .name("lease".to_owned());
    thread.spawn(move || {
        while !lease.revoked.is_cancelled() {
            match accept_next(&listener, &woken) {
                Ok(stream) => {
                    if sender.blocking_send(stream).is_err() {
                        return;
                    }
                }
                Err(error) if is_transient(&error) => thread::sleep(ACCEPT_BACKOFF),
                Err(_) => return,
            }
        }
    })?;
    Ok(AcceptedStreams {
        streams,
        _wake: wake,
    })
}

/// Waits for a connection and accepts it.
///
/// # Errors
/// `NotConnected` if the socket does not listen any more, or the other end of `woken` is closed.
fn accept_next(listener: &UnixListener, woken: &UnixStream) -> io::Result<UnixStream> {
    let mut polled = [
        PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        PollFd::new(woken.as_fd(), PollFlags::POLLIN),
    ];
    poll(&mut polled, PollTimeout::NONE)?;
    let events = |index: usize| polled[index].revents().unwrap_or(PollFlags::POLLERR);
    if !events(1).is_empty() || !(events(0) - PollFlags::POLLIN).is_empty() {
        return Err(ErrorKind::NotConnected.into());
    }
    // The flags are of the accepted socket, which is not shared.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream: OwnedFd = accept_with(listener, flags)?;
    Ok(stream.into())
}

/// Returns `true` if a later `accept` may succeed.
fn is_transient(error: &io::Error) -> bool {
    const TRANSIENT: [i32; 6] = [
        nix::libc::EAGAIN,
        nix::libc::EINTR,
        nix::libc::ECONNABORTED,
        nix::libc::EMFILE,
        nix::libc::ENFILE,
        nix::libc::ENOMEM,
    ];
    error
        .raw_os_error()
        .is_some_and(|it| TRANSIENT.contains(&it))
}
