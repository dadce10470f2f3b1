//! A write that never blocks. A pipe whose reader has stopped must not stop the daemon, nor a terminal
//! that stops background jobs (`stty tostop`).

use std::{
    io::{self, ErrorKind, Write},
    os::fd::AsFd,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{SigSet, SigmaskHow, Signal},
};

/// Maximum length of a write that a writable pipe accepts without blocking: `PIPE_BUF` of Linux,
/// pipe(7).
pub(crate) const MAX_WRITE_BYTES: usize = 4096;

/// Writes the first [`MAX_WRITE_BYTES`] of some bytes at most; returns their number.
///
/// # Errors
/// `WouldBlock` if the file cannot be written now, and the errors of the write.
pub(crate) fn write<W: Write + AsFd>(to: &mut W, bytes: &[u8]) -> io::Result<usize> {
    if !is_writable(to) {
        return Err(ErrorKind::WouldBlock.into());
    }
    let bytes = &bytes[..bytes.len().min(MAX_WRITE_BYTES)];
    without_sigttou(|| to.write(bytes))
}

/// Returns `true` if a write of [`MAX_WRITE_BYTES`] does not block.
fn is_writable(file: &impl AsFd) -> bool {
    let mut polled = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
    // After a failed poll(2) the bytes are written, as by an ordinary write.
    !matches!(poll(&mut polled, PollTimeout::ZERO), Ok(0))
}

/// Runs a write while this thread blocks SIGTTOU: then the kernel writes to the terminal from the
/// background, and sends no signal. Child processes inherit no blocked signal, because the mask is
/// that of this thread and of this moment.
fn without_sigttou<T>(write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let blocked = SigSet::from(Signal::SIGTTOU);
    let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let written = write();
    before.thread_set_mask()?;
    written
}
