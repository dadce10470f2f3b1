//! Accepts at the socket of a lease on a thread of its own. The socket is its owner's as much
//! as ours, with all its flags: an owner that makes it block, or shuts it down, must stop
//! nobody but those who come by its lease.

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

use crate::refresh::supervisor::LeaseHandle;

/// A thread that waits needs little.
const STACK: usize = 128 * 1024;

/// How many may have been accepted and not yet served.
const WAITING: usize = 16;

/// How long it rests when the system has no descriptor for one more.
const REST: Duration = Duration::from_millis(100);

/// Those who come by a lease. Dropping it ends the thread.
pub(super) struct Streams {
    streams: mpsc::Receiver<UnixStream>,
    /// The thread waits for the other end as well.
    _wake: UnixStream,
}

impl Streams {
    /// Returns the next one; nothing when the socket does not listen any more.
    pub(super) async fn next(&mut self) -> Option<UnixStream> {
        self.streams.recv().await
    }
}

/// Accepts whoever connects to `listener`, until the lease is over or the socket does not
/// listen any more. The lease counts as held until the thread has ended.
///
/// # Errors
/// When the system has no thread left.
pub(super) fn accept(listener: UnixListener, leased: Arc<LeaseHandle>) -> io::Result<Streams> {
    let (give, streams) = mpsc::channel(WAITING);
    let (wake, woken) = UnixStream::pair()?;
    let thread = thread::Builder::new()
        .stack_size(STACK)
        .name("lease".to_owned());
    thread.spawn(move || {
        while !leased.revoked.is_cancelled() {
            match next(&listener, &woken) {
                Ok(stream) => {
                    if give.blocking_send(stream).is_err() {
                        return;
                    }
                }
                Err(error) if is_passing(&error) => thread::sleep(REST),
                Err(_) => return,
            }
        }
    })?;
    Ok(Streams {
        streams,
        _wake: wake,
    })
}

fn next(listener: &UnixListener, woken: &UnixStream) -> io::Result<UnixStream> {
    let mut looked = [
        PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        PollFd::new(woken.as_fd(), PollFlags::POLLIN),
    ];
    poll(&mut looked, PollTimeout::NONE)?;
    let seen = |at: usize| looked[at].revents().unwrap_or(PollFlags::POLLERR);
    if !seen(1).is_empty() || !(seen(0) - PollFlags::POLLIN).is_empty() {
        return Err(ErrorKind::NotConnected.into());
    }
    // The flags are of the new socket, which is ours alone.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream: OwnedFd = accept_with(listener, flags)?;
    Ok(stream.into())
}

/// Tells whether the next look may find what this one did not.
fn is_passing(error: &io::Error) -> bool {
    const PASSING: [i32; 6] = [
        nix::libc::EAGAIN,
        nix::libc::EINTR,
        nix::libc::ECONNABORTED,
        nix::libc::EMFILE,
        nix::libc::ENFILE,
        nix::libc::ENOMEM,
    ];
    error.raw_os_error().is_some_and(|it| PASSING.contains(&it))
}
