//! The output of a program, read from a pipe into a buffer of limited size that is wiped on drop.

use std::{
    io::{self, ErrorKind, PipeReader},
    os::fd::OwnedFd,
    time::Duration,
};

use tokio::{net::unix::pipe, time::sleep};
use zeroize::Zeroizing;

/// Size of one read.
const READ_BYTES: usize = 4 * 1024;

/// Pause after a read whose bytes are not all kept, which bounds the processor time.
const DISCARD_PAUSE: Duration = Duration::from_millis(1);

/// The part of the output that is kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keep {
    /// The first bytes.
    First(usize),
    /// The last bytes.
    Last(usize),
}

/// The output of a program.
pub(super) struct PipeOutput {
    receiver: pipe::Receiver,
    keep: Keep,
    /// Large enough from the start: a buffer that grows leaves copies behind.
    kept: Zeroizing<Vec<u8>>,
    is_cut: bool,
}

impl PipeOutput {
    pub(super) fn new(reader: PipeReader, keep: Keep) -> io::Result<Self> {
        let capacity = match keep {
            Keep::First(max_bytes) => max_bytes,
            Keep::Last(bytes) => bytes + READ_BYTES,
        };
        Ok(Self {
            receiver: pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?,
            keep,
            kept: Zeroizing::new(Vec::with_capacity(capacity)),
            is_cut: false,
        })
    }

    /// Returns `true` if bytes were discarded.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns the kept bytes.
    pub(super) fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.kept
    }

    /// Reads the output, which would otherwise block the program on a full pipe. Completes once
    /// bytes are discarded if `until_cut` is set, and never otherwise.
    pub(super) async fn drain(&mut self, until_cut: bool) -> io::Result<()> {
        while self.read().await? {
            if until_cut && self.is_cut {
                return Ok(());
            }
        }
        std::future::pending().await
    }

    /// Reads the output until all write ends of the pipe are closed.
    pub(super) async fn read_to_end(&mut self) -> io::Result<()> {
        while self.read().await? {}
        Ok(())
    }

    /// Reads once; returns `false` at the end of the output.
    async fn read(&mut self) -> io::Result<bool> {
        let mut chunk = Zeroizing::new([0; READ_BYTES]);
        loop {
            self.receiver.readable().await?;
            match self.receiver.try_read(&mut *chunk) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.keep(&chunk[..count]);
                    if self.is_cut {
                        sleep(DISCARD_PAUSE).await;
                    }
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn keep(&mut self, chunk: &[u8]) {
        match self.keep {
            Keep::First(max_bytes) => {
                let fits = chunk.len().min(max_bytes - self.kept.len());
                self.kept.extend_from_slice(&chunk[..fits]);
                self.is_cut |= fits < chunk.len();
            }
            Keep::Last(bytes) => {
                self.kept.extend_from_slice(chunk);
                let excess = self.kept.len().saturating_sub(bytes);
                self.kept.drain(..excess);
                self.is_cut |= excess > 0;
            }
        }
    }
}
