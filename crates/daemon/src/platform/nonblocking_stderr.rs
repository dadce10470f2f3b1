//! Decides what becomes of log lines that nobody reads: they are lost and counted. Whoever
//! stops reading our log must not stop us.

use std::{
    io::{self, Write},
    os::fd::AsFd,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What a pipe or a socket that can be written to takes without waiting, in bytes: POSIX's
/// smallest `PIPE_BUF` is less, Linux's is this.
const MAX_WRITE_BYTES: usize = 4096;

/// A log that is written to only as far as somebody reads.
pub struct NonBlockingWriter<W> {
    inner: W,
    lost: u64,
}

impl<W: Write + AsFd> NonBlockingWriter<W> {
    /// Prepares to write to `log`.
    pub fn new(inner: W) -> Self {
        Self { inner, lost: 0 }
    }

    fn is_writable(&self) -> bool {
        let mut polled = [PollFd::new(self.inner.as_fd(), PollFlags::POLLOUT)];
        // A log that cannot be looked at is written to, as any other.
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
            writeln!(self.inner, "{lost} log lines were lost: nobody read them")?;
            return self.write(bytes);
        }
        self.inner.write(&bytes[..bytes.len().min(MAX_WRITE_BYTES)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _, pipe};

    use super::NonBlockingWriter;

    #[test]
    fn a_log_that_nobody_reads_keeps_nobody_waiting_and_says_what_was_lost() {
        let (reader, writer) = pipe().unwrap();
        let mut log = NonBlockingWriter::new(writer);
        let line = format!("{}\n", "x".repeat(99));
        // Far more than a pipe holds.
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
        let said = format!("{lost} log lines were lost: nobody read them");
        assert_eq!(rest[rest.len() - 2..], [said, "again".to_owned()]);
    }
}
