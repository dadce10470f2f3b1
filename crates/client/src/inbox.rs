//! The read buffer of a connection, blocking or not: it decodes the daemon's replies.

use std::io::ErrorKind;

use stsd_wire::{HEADER, Message as _, Reply, Request, VERSION, message_length};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::{Error, broken, malformed};

/// Large enough for Hello and credentials in one read, so that a reply is one system call.
const ANSWER_SIZE: usize = 2 * 1024;

/// Bytes read and not yet decoded; wiped on drop, because answers hold secrets.
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    decoded: usize,
    filled: usize,
    /// The part of the buffer that was ever filled, and therefore has to be wiped.
    touched: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; ANSWER_SIZE],
            decoded: 0,
            filled: 0,
            touched: 0,
        }
    }

    /// Returns the next reply after the daemon's Hello; `None` if the reply is not complete, and
    /// then the buffer has free space for the rest.
    pub(crate) fn next_reply(&mut self) -> Result<Option<Reply>, Error> {
        while let Some(reply) = self.next_message()? {
            match reply {
                Reply::Hello { version } if version != VERSION => {
                    let older = if version > VERSION {
                        "client"
                    } else {
                        "daemon"
                    };
                    return Err(Error::Protocol(format!(
                        "it speaks version {version}, this client version {VERSION}; \
                         upgrade the {older}"
                    )));
                }
                Reply::Hello { .. } => {}
                reply => return Ok(Some(reply)),
            }
        }
        Ok(None)
    }

    /// Returns the free part of the buffer; it is never empty after a reply was incomplete.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    /// Marks `count` bytes of the free part as filled; zero bytes are the end of the stream.
    pub(crate) fn came(&mut self, count: usize) -> Result<(), Error> {
        if count == 0 {
            return Err(broken(ErrorKind::UnexpectedEof.into()));
        }
        self.filled += count;
        self.touched = self.touched.max(self.filled);
        Ok(())
    }

    fn next_message(&mut self) -> Result<Option<Reply>, Error> {
        let there = &self.buffer[self.decoded..self.filled];
        let Some((header, rest)) = there.split_first_chunk::<HEADER>() else {
            self.make_room(HEADER);
            return Ok(None);
        };
        let length = message_length(*header).map_err(malformed)?;
        let Some(message) = rest.get(..length) else {
            self.make_room(HEADER + length);
            return Ok(None);
        };
        let reply = Reply::decode(message).map_err(malformed)?;
        self.decoded += HEADER + length;
        Ok(Some(reply))
    }

    fn make_room(&mut self, wanted: usize) {
        if self.decoded > 0 {
            self.buffer.copy_within(self.decoded..self.filled, 0);
            self.filled -= self.decoded;
            self.decoded = 0;
        }
        if self.buffer.len() < wanted {
            // A fresh buffer instead of a grown one, so that the old one is wiped.
            let mut larger = vec![0; wanted];
            larger[..self.filled].copy_from_slice(&self.buffer[..self.filled]);
            self.wipe();
            self.buffer = larger;
            self.touched = self.filled;
        }
    }

    fn wipe(&mut self) {
        self.buffer[..self.touched].zeroize();
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// Returns the first bytes of a connection: Hello and the request.
pub(crate) fn opening(request: &Request) -> Result<Zeroizing<Vec<u8>>, Error> {
    let opening = request.frame_after(&Request::Hello { version: VERSION });
    opening.map_err(|_| Error::TooLong)
}

#[cfg(test)]
mod tests {
    use stsd_wire::{Failure, FailureKind, Message as _, Reply, VERSION};

    use super::Inbox;
    use crate::error::Error;

    /// Copies as many bytes as fit into the free part, and returns their number.
    fn feed(inbox: &mut Inbox, bytes: &[u8]) -> usize {
        let room = inbox.room();
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        inbox.came(count).unwrap();
        count
    }

    fn long() -> Reply {
        Reply::Failure(Failure {
            kind: FailureKind::Busy,
            message: "x".repeat(10_000),
            hint: String::new(),
        })
    }

    #[test]
    fn replies_are_decoded_from_pieces_of_any_size() {
        let hello = Reply::Hello { version: VERSION };
        let said = [&hello, &Reply::Done, &long(), &Reply::Done];
        let bytes: Vec<u8> = said
            .iter()
            .flat_map(|it| it.frame().unwrap().to_vec())
            .collect();
        for piece in [1, 2, 3, 7, 1000] {
            let (mut inbox, mut heard) = (Inbox::new(), Vec::new());
            let mut rest = &bytes[..];
            loop {
                match inbox.next_reply().unwrap() {
                    Some(reply) => heard.push(reply),
                    None if rest.is_empty() => break,
                    None => {
                        let piece = &rest[..piece.min(rest.len())];
                        rest = &rest[feed(&mut inbox, piece)..];
                    }
                }
            }
            assert_eq!(heard, [Reply::Done, long(), Reply::Done], "{piece}");
        }
    }

    #[test]
    fn other_version_and_closed_connection_are_distinct() {
        let mut inbox = Inbox::new();
        assert!(matches!(inbox.came(0), Err(Error::Broken { .. })));
        let other = Reply::Hello {
            version: VERSION + 1,
        };
        feed(&mut inbox, &other.frame().unwrap());
        assert!(matches!(inbox.next_reply(), Err(Error::Protocol(_))));
    }
}
