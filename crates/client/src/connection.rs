//! Decides how one connection goes: connect, write Hello and the question at once, read
//! the answers, and never longer than the deadline.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use socket2::{Domain, SockAddr, Socket, Type};
use stsd_wire::{HEADER, Message as _, Reply, Request, VERSION, message_length};
use zeroize::Zeroizing;

use crate::{Answer, Error, answer};

/// Enough for Hello and credentials in one read, so that an answer is one system call.
const ANSWER_SIZE: usize = 4 * 1024;

pub(crate) struct Connection {
    stream: UnixStream,
    /// When we stop waiting; none for a watch, which waits for a rotation.
    deadline: Option<Instant>,
    /// Our Hello goes out with the first question.
    greeted: bool,
    /// Bytes read and not yet decoded; wiped on drop, because answers hold secrets.
    buffer: Zeroizing<Vec<u8>>,
    decoded: usize,
    filled: usize,
}

impl Connection {
    /// Connects to the first socket that exists. `patience` bounds everything that is
    /// done with the connection, connecting included.
    pub(crate) fn open(sockets: &[PathBuf], patience: Duration) -> Result<Self, Error> {
        // To the kernel a deadline of zero is none at all.
        let patience = patience.max(Duration::from_millis(1));
        let deadline = now().checked_add(patience);
        let mut last = io::Error::from(ErrorKind::NotFound);
        for path in sockets {
            match connect(path, patience) {
                Ok(stream) => {
                    return Ok(Self {
                        stream,
                        deadline,
                        greeted: false,
                        buffer: Zeroizing::new(vec![0; ANSWER_SIZE]),
                        decoded: 0,
                        filled: 0,
                    });
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock) => {
                    return Err(Error::TimedOut);
                }
                Err(error) => last = error,
            }
        }
        Err(Error::NotReachable {
            tried: sockets.to_vec(),
            source: last,
        })
    }

    pub(crate) fn send(&mut self, request: &Request) -> Result<(), Error> {
        let mut bytes = request.frame()?;
        if !self.greeted {
            let mut greeting = Request::Hello { version: VERSION }.frame()?;
            greeting.extend_from_slice(&bytes);
            bytes = greeting;
            self.greeted = true;
        }
        // A daemon that refuses us closes early; its reason is still there to be read.
        match self.stream.write_all(&bytes) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(broken(error)),
            _ => Ok(()),
        }
    }

    /// Receives the next reply after the daemon's Hello.
    pub(crate) fn receive(&mut self) -> Result<Reply, Error> {
        loop {
            match self.next_reply()? {
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
                reply => return Ok(reply),
            }
        }
    }

    /// Passes a descriptor to the daemon, with the byte that has to go with it.
    #[cfg(feature = "lease")]
    pub(crate) fn pass(&self, descriptor: std::os::fd::BorrowedFd<'_>) -> Result<(), Error> {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let byte = [io::IoSlice::new(&[0])];
        let sent = sendmsg(&self.stream, &byte, &mut ancillary, SendFlags::NOSIGNAL);
        sent.map(drop).map_err(|error| broken(error.into()))
    }

    /// Lets a watch wait for a rotation for as long as it takes.
    pub(crate) fn wait_for_ever(&mut self) {
        self.deadline = None;
    }

    fn next_reply(&mut self) -> Result<Reply, Error> {
        self.fill(HEADER)?;
        let at = self.decoded;
        let mut header = [0; HEADER];
        header.copy_from_slice(&self.buffer[at..at + HEADER]);
        let length = message_length(header)?;
        self.fill(HEADER + length)?;
        let start = self.decoded + HEADER;
        let reply = Reply::decode(&self.buffer[start..start + length])?;
        self.decoded = start + length;
        Ok(reply)
    }

    /// Reads until `wanted` undecoded bytes are there.
    fn fill(&mut self, wanted: usize) -> Result<(), Error> {
        while self.filled - self.decoded < wanted {
            self.make_room(wanted);
            let left = self.deadline.map(|at| at.saturating_duration_since(now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Error::TimedOut);
            }
            self.stream.set_read_timeout(left).map_err(broken)?;
            match self.stream.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Err(broken(ErrorKind::UnexpectedEof.into())),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(())
    }

    fn make_room(&mut self, wanted: usize) {
        if self.decoded > 0 {
            self.buffer.copy_within(self.decoded..self.filled, 0);
            self.filled -= self.decoded;
            self.decoded = 0;
        }
        if self.buffer.len() < wanted {
            // A fresh buffer instead of a grown one, so that the old one is wiped.
            let mut larger = Zeroizing::new(vec![0; wanted]);
            larger[..self.filled].copy_from_slice(&self.buffer[..self.filled]);
            self.buffer = larger;
        }
    }
}

/// Credentials of one profile, now and at each rotation. Blocks between them.
pub struct Watch {
    connection: Connection,
    ended: bool,
}

impl Watch {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            connection,
            ended: false,
        }
    }
}

impl Iterator for Watch {
    type Item = Result<Answer, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        self.connection.wait_for_ever();
        let item = self.connection.receive().and_then(answer);
        self.ended = item.is_err();
        Some(item)
    }
}

/// Connects with a deadline. A Unix socket whose backlog is full makes `connect` wait for
/// as long as the send timeout, which therefore has to be set before.
fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(patience))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(UnixStream::from(socket))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a caller's patience is a few seconds of being awake, which is what Instant counts"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

fn broken(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::TimedOut,
        _ => Error::Broken(error),
    }
}
