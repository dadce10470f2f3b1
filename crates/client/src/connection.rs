//! A blocking connection: it connects, writes Hello and the request together, and reads the
//! replies until the deadline.

use std::{
    fmt,
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use socket2::{Domain, SockAddr, Socket, Type};
use stsd_wire::{Message as _, Reply, Request};

use crate::{
    Answer, Error, answer,
    error::broken,
    inbox::{Inbox, opening},
    instant::now,
    socket::{Location, check_server},
};

/// The flag of send(2) against SIGPIPE. On macOS socket2 sets the option `SO_NOSIGPIPE` of the socket.
#[cfg(all(feature = "lease", not(target_os = "macos")))]
const NO_SIGPIPE: rustix::net::SendFlags = rustix::net::SendFlags::NOSIGNAL;
#[cfg(all(feature = "lease", target_os = "macos"))]
const NO_SIGPIPE: rustix::net::SendFlags = rustix::net::SendFlags::empty();

pub(crate) struct Connection {
    stream: UnixStream,
    /// The path of the server's socket, for errors.
    pub(crate) socket: PathBuf,
    /// The end of the patience; `None` for a watch, which waits for a rotation.
    deadline: Option<Instant>,
    /// `true` once Hello is written, together with the first request.
    greeted: bool,
    inbox: Inbox,
}

impl Connection {
    /// Connects, and checks the server before anything is sent. `patience` bounds everything that is
    /// done with the connection, connecting included.
    pub(crate) fn open(location: &Location, patience: Duration) -> Result<Self, Error> {
        // A socket timeout of zero means no timeout.
        let patience = patience.max(Duration::from_millis(1));
        let deadline = now().checked_add(patience);
        let path = location.path();
        let connected = location.check_directory();
        let stream = match connected.and_then(|()| connect(path, patience)) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(broken(error).at(path));
            }
            Err(error) => return Err(location.unreachable(error)),
        };
        check_server(&stream, path)?;
        Ok(Self {
            stream,
            socket: path.to_owned(),
            deadline,
            greeted: false,
            inbox: Inbox::new(),
        })
    }

    pub(crate) fn send(&mut self, request: &Request) -> Result<(), Error> {
        let bytes = if self.greeted {
            request.frame().map_err(|_| Error::TooLong)?
        } else {
            opening(request)?
        };
        self.greeted = true;
        // A daemon that rejects the connection closes early; its reason can still be read.
        match self.stream.write_all(&bytes) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(self.broken(error)),
            _ => Ok(()),
        }
    }

    /// Receives the next reply after the daemon's Hello.
    pub(crate) fn receive(&mut self) -> Result<Reply, Error> {
        loop {
            if let Some(reply) = self.inbox.next_reply()? {
                return Ok(reply);
            }
            let left = self.deadline.map(|at| at.saturating_duration_since(now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(self.broken(ErrorKind::TimedOut.into()));
            }
            let set = self.stream.set_read_timeout(left);
            set.map_err(|error| self.broken(error))?;
            match self.stream.read(self.inbox.room()) {
                Ok(count) => {
                    let came = self.inbox.came(count);
                    came.map_err(|error| error.at(&self.socket))?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(error)),
            }
        }
    }

    /// Passes a descriptor to the daemon, with the byte that `SCM_RIGHTS` needs.
    #[cfg(feature = "lease")]
    pub(crate) fn pass(&self, descriptor: std::os::fd::BorrowedFd<'_>) -> Result<(), Error> {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, sendmsg};

        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let byte = [io::IoSlice::new(&[0])];
        let sent = sendmsg(&self.stream, &byte, &mut ancillary, NO_SIGPIPE);
        sent.map(drop).map_err(|error| self.broken(error.into()))
    }

    /// Removes the deadline, because a watch waits for rotations without end.
    pub(crate) fn wait_for_ever(&mut self) {
        self.deadline = None;
    }

    fn broken(&self, error: io::Error) -> Error {
        broken(error).at(&self.socket)
    }
}

/// An iterator over the credentials of one profile: the current ones, then those of each rotation.
/// `next` blocks until the next rotation.
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

/// Shows no reply, which holds secrets.
impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut watch = f.debug_struct("Watch");
        watch.field("socket", &self.connection.socket);
        watch.finish_non_exhaustive()
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
