//! `AsyncFd` for descriptors of the standard library.

use std::{io, os::fd::AsRawFd};

use tokio::io::{Interest, unix::AsyncFd};

/// Returns an `AsyncFd`, which the runtime watches until it is dropped.
///
/// # Errors
/// `epoll_ctl` has failed: no memory is left, or the descriptor is registered already.
pub(crate) fn async_fd<T: AsRawFd>(descriptor: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "the successor is unsafe for types that may exchange their descriptor; all \
                  callers pass types of std, which cannot"
    )]
    AsyncFd::with_interest(descriptor, interest)
}
