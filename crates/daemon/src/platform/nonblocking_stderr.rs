//! A writer for stderr that never blocks. Lines are lost and counted while the pipe is full: a reader
//! that stops must not stop the daemon. Nor does a terminal that stops background jobs (`stty tostop`).

use std::{
    io::{self, Write},
    os::fd::AsFd,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{SigSet, SigmaskHow, Signal},
};

/// Maximum length of a write that a writable pipe accepts without blocking: `PIPE_BUF` of Linux,
/// pipe(7).
const MAX_WRITE_BYTES: usize = 4096;

/// A writer that drops lines instead of blocking.
pub struct NonBlockingWriter<W> {
    inner: W,
    lost: u64,
}

impl<W: Write + AsFd> NonBlockingWriter<W> {
    /// Returns a writer to a pipe, a socket or a file.
    pub fn new(inner: W) -> Self {
        Self { inner, lost: 0 }
    }

    fn is_writable(&self) -> bool {
        let mut polled = [PollFd::new(self.inner.as_fd(), PollFlags::POLLOUT)];
        // After a failed poll(2) the line is written, as without this type.
        !matches!(poll(&mut polled, PollTimeout::ZERO), Ok(0))
    }
}

impl<W: Write + AsFd> Write for NonBlockingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_writable() {
            self.lost += 1;
            return Ok(bytes.len());
        }
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            let line = format!("{lost} log lines were lost: the log was not read\n");
            without_sigttou(|| self.inner.write_all(line.as_bytes()))?;
            return self.write(bytes);
        }
        let bytes = &bytes[..bytes.len().min(MAX_WRITE_BYTES)];
        without_sigttou(|| self.inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _, pipe};

    use super::NonBlockingWriter;

    #[test]
    fn unread_log_does_not_block_and_counts_lost_lines() {
        let (reader, writer) = pipe().unwrap();
        let mut log = NonBlockingWriter::new(writer);
        let line = format!("{}\n", "x".repeat(99));
        // Far more than the capacity of a pipe.
        for _ in 0..10_000 {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert!(log.lost > 5_000, "{}", log.lost);
        let mut reader = BufReader::new(reader);
        let mut read = String::new();
        for _ in 0..500 {
            reader.read_line(&mut read).unwrap();
        }
        let lost = log.lost;
        log.write_all(b"again\n").unwrap();
        assert_eq!(log.lost, 0);
        drop(log);
        let rest: Vec<_> = reader.lines().map(Result::unwrap).collect();
        let said = format!("{lost} log lines were lost: the log was not read");
        assert_eq!(rest[rest.len() - 2..], [said, "again".to_owned()]);
    }
}
