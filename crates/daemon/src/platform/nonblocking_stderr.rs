//! A writer for stderr that never blocks. Lines are lost and counted while the pipe is full: a reader
//! that stops must not stop the daemon. Nor does a terminal that stops background jobs (`stty tostop`).

use std::{
    io::{self, ErrorKind, Write},
    os::fd::AsFd,
};

use crate::runtime::nonblocking_write;

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
}

impl<W: Write + AsFd> Write for NonBlockingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let first = match self.lost {
            0 => nonblocking_write::write(&mut self.inner, bytes),
            lost => {
                let line = format!("{lost} log lines were lost: the log was not read\n");
                nonblocking_write::write(&mut self.inner, line.as_bytes())
            }
        };
        match first {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.lost += 1;
                Ok(bytes.len())
            }
            Ok(_) if self.lost > 0 => {
                self.lost = 0;
                self.write(bytes)
            }
            written => written,
        }
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
