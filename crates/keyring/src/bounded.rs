//! Size limits for the input from a bus. The library would allocate what a message's header
//! claims, up to 128 MiB.

use std::{
    io::{self, ErrorKind},
    os::fd::{BorrowedFd, OwnedFd},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use zbus::connection::socket::{ReadHalf, WriteHalf};

/// The answer to the authentication: `OK` and a GUID.
const MAX_LINE: usize = 256;
/// An item of four times the size that is accepted is still named as too large.
const MAX_MESSAGE: usize = 64 * 1024;
/// Maximum number of bytes on one connection.
const MAX_HEARD: usize = 256 * 1024;
/// The part of a message's header that holds the message's length.
const HEAD: usize = 16;

/// The reading half of a connection to a bus, with limits on what it accepts.
///
/// Descriptors are not requested, and the kernel closes any that arrive.
#[derive(Debug)]
pub(crate) struct Reader {
    half: OwnedReadHalf,
    heard: Heard,
}

/// The writing half.
#[derive(Debug)]
pub(crate) struct Writer(OwnedWriteHalf);

pub(crate) fn split(stream: UnixStream) -> (Reader, Writer) {
    let (half, writing) = stream.into_split();
    let heard = Heard::default();
    (Reader { half, heard }, Writer(writing))
}

impl Reader {
    /// Reads one line of the authentication, without its end. Byte by byte, because the
    /// messages come right after it.
    pub(crate) async fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        while line.len() <= MAX_LINE {
            line.push(self.half.read_u8().await?);
            if let Some(text) = line.strip_suffix(b"\r\n") {
                return Ok(text.to_vec());
            }
        }
        Err(too_much())
    }
}

impl Writer {
    pub(crate) async fn line(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(text.as_bytes()).await?;
        self.0.write_all(b"\r\n").await
    }
}

#[async_trait::async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let count = self.half.read(buffer).await?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        // The limits are applied before the library parses a byte.
        self.heard.take(&buffer[..count])?;
        Ok((count, Vec::new()))
    }
}

#[async_trait::async_trait]
impl WriteHalf for Writer {
    async fn sendmsg(&mut self, bytes: &[u8], _: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.0.write(bytes).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

/// Tracks message boundaries and total size in the input.
#[derive(Debug, Default)]
struct Heard {
    total: usize,
    head: [u8; HEAD],
    /// Bytes of the header that have been received.
    of_head: usize,
    /// Bytes of the message that are still to come after the header.
    left: usize,
}

impl Heard {
    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.total += bytes.len();
        if self.total > MAX_HEARD {
            return Err(too_much());
        }
        while !bytes.is_empty() {
            if self.of_head < HEAD {
                let count = (HEAD - self.of_head).min(bytes.len());
                self.head[self.of_head..][..count].copy_from_slice(&bytes[..count]);
                self.of_head += count;
                bytes = &bytes[count..];
                if self.of_head == HEAD {
                    self.left = after(&self.head)?;
                }
            } else {
                let count = self.left.min(bytes.len());
                self.left -= count;
                bytes = &bytes[count..];
            }
            if self.of_head == HEAD && self.left == 0 {
                self.of_head = 0;
            }
        }
        Ok(())
    }
}

/// Returns how many bytes follow a header: `l` or `B` for the byte order, three other bytes, the
/// body's length, a serial number, the length of the fields. The body begins at a multiple of
/// eight. (D-Bus specification, "Message Format")
fn after(head: &[u8; HEAD]) -> io::Result<usize> {
    let number = |at: usize| -> io::Result<u64> {
        let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
        match head[0] {
            b'l' => Ok(u32::from_le_bytes(bytes).into()),
            b'B' => Ok(u32::from_be_bytes(bytes).into()),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    };
    let left = number(12)?.next_multiple_of(8) + number(4)?;
    let left = usize::try_from(left).ok();
    left.filter(|&it| it <= MAX_MESSAGE).ok_or_else(too_much)
}

fn too_much() -> io::Error {
    ErrorKind::FileTooLarge.into()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::{HEAD, Heard, MAX_HEARD, MAX_MESSAGE};

    fn head(order: u8, body: u32, fields: u32) -> [u8; HEAD] {
        let bytes = |number: u32| match order {
            b'B' => number.to_be_bytes(),
            _ => number.to_le_bytes(),
        };
        let parts = [[order, 2, 1, 1], bytes(body), bytes(1), bytes(fields)];
        parts.concat().try_into().unwrap()
    }

    /// The outcome is the same for every division of the bytes into reads.
    fn check(what: &str, said: &[u8], outcome: Result<(), ErrorKind>) {
        for cut in [1, 7, 16, 1024, usize::MAX] {
            let mut heard = Heard::default();
            let mut chunks = said.chunks(cut);
            let heard = chunks.try_for_each(|chunk| heard.take(chunk));
            assert_eq!(
                heard.map_err(|error| error.kind()),
                outcome,
                "{what}, {cut}"
            );
        }
    }

    #[test]
    fn bus_message_over_the_limit_is_not_read() {
        let large = Err(ErrorKind::FileTooLarge);
        let invalid = Err(ErrorKind::InvalidData);
        let most = u32::try_from(MAX_MESSAGE).unwrap();
        for order in [b'l', b'B'] {
            check("the largest", &head(order, most - 8, 5), Ok(()));
            check("a body too large", &head(order, most, 5), large);
            check("fields too large", &head(order, 0, most + 1), large);
            check("all of it", &head(order, u32::MAX, u32::MAX), large);
        }
        check("no byte order", &head(b'x', 0, 0), invalid);
        let second = [&head(b'l', 8, 3)[..], &[0; 16], &head(b'l', most, 8)].concat();
        check("the second one", &second, large);
        let many = head(b'l', 0, 0).repeat(MAX_HEARD / HEAD);
        check("as much as may come", &many, Ok(()));
        check("too much", &[&many[..], b"l"].concat(), large);
    }
}
