//! Decides nothing: how the runtime watches a descriptor that is not of one of its own types.

use std::{io, os::fd::AsRawFd};

use tokio::io::{Interest, unix::AsyncFd};

/// Has a descriptor watched until what is returned is dropped.
///
/// # Errors
/// When the system has no memory for it, or watches it already.
pub(crate) fn async_fd<T: AsRawFd>(descriptor: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "the successor is unsafe for types that may exchange their descriptor; \
                  descriptors of std, all that comes here, cannot"
    )]
    AsyncFd::with_interest(descriptor, interest)
}
