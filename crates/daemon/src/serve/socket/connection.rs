//! The bytes of one connection: an input buffer, non-blocking reads and writes, and waits for
//! readiness.

use std::{
    io::{self, ErrorKind},
    mem::{self, MaybeUninit},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send, sockopt::set_socket_send_buffer_size},
};
use stsd_codes::Code;
use stsd_wire::{Failure, FailureKind, FrameError, HEADER, Message as _, Reply, VERSION};
use tokio::{
    io::Interest,
    time::{sleep, timeout},
};
use tracing::debug;

use super::{failures, wire_convert};
use crate::{
    runtime::async_fd, serve::connection_limit::ConnectionPermit, session::snapshot::Session,
};

/// Timeout for a Hello, for the rest of a frame, and for a client that does not read its reply. A
/// connection without a request in progress has no timeout.
pub(super) const IO_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum number of bytes that one `recv` reads: a few usual requests.
pub(super) const READ_CHUNK_BYTES: usize = 512;

/// The send buffer of a connection with several requests. The kernel doubles the number, and counts
/// the memory of a reply: 2 to 4 KiB for one with credentials.
const SEND_BUFFER_BYTES: usize = 4 * 1024;

/// Interval between checks whether a peer that has shut down its sending side has closed.
const CLOSE_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Length of an encoded `Reply::Hello`: header, variant and a version below 251.
const HELLO_BYTES: usize = HEADER + 2;

/// One connection.
pub(super) struct Connection {
    stream: UnixStream,
    permit: ConnectionPermit,
    /// Input that is not a whole frame yet, or follows the frame in progress.
    read_buffer: Vec<u8>,
    /// The Hello was sent, which precedes the first reply.
    hello_sent: bool,
    /// A reply is partly written; no other may be sent.
    partial_write: bool,
    /// The socket may have unread input.
    maybe_readable: bool,
    read_state: ReadState,
}

/// The state of the peer's sending side, as epoll has reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ReadState {
    /// More input may follow.
    Open,
    /// The peer has shut down its sending side; it may still read.
    HalfClosed,
    /// The peer has closed.
    Closed,
}

/// Outgoing bytes.
pub(super) enum OutBuf {
    /// The encoded reply of a session, shared by all connections that send it.
    Shared(Arc<Session>),
    Owned(Bytes),
}

/// The rest of a reply that the socket's buffer did not take.
pub(super) struct PartialWrite {
    pub(super) buffer: OutBuf,
    /// Bytes that are written already.
    pub(super) offset: usize,
}

/// Bytes that are wiped when they are dropped.
pub(super) type Bytes = zeroize::Zeroizing<Vec<u8>>;

impl Connection {
    pub(super) fn new(stream: UnixStream, permit: ConnectionPermit) -> Self {
        Self {
            stream,
            permit,
            read_buffer: Vec::new(),
            hello_sent: false,
            partial_write: false,
            // A request may have arrived before the connection was accepted.
            maybe_readable: true,
            read_state: ReadState::Open,
        }
    }

    pub(super) fn permit(&self) -> &ConnectionPermit {
        &self.permit
    }

    /// Records that the socket may have input.
    pub(super) fn note_readable(&mut self, state: ReadState) {
        self.maybe_readable = true;
        self.read_state = state.max(self.read_state);
    }

    /// Returns `true` if the socket may have unread input.
    pub(super) fn is_maybe_readable(&self) -> bool {
        self.maybe_readable
    }

    pub(super) fn has_buffered_input(&self) -> bool {
        !self.read_buffer.is_empty()
    }

    /// Records the bytes that the connection buffers: its input, and `others`.
    pub(super) fn record_buffered(&self, others: usize) {
        self.permit
            .set_buffered(self.read_buffer.capacity() + others);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.read_state == ReadState::Closed
    }

    /// Reads once without waiting. Returns `None` if there is no input, and an empty slice at the
    /// end of the input.
    pub(super) fn read<'a>(
        &mut self,
        chunk: &'a mut [MaybeUninit<u8>; READ_CHUNK_BYTES],
    ) -> io::Result<Option<&'a [u8]>> {
        let input = match recv(&self.stream, &mut chunk[..], RecvFlags::DONTWAIT) {
            Ok(((input, _), _)) => &*input,
            Err(Errno::INTR) => return Ok(None),
            Err(Errno::AGAIN) => {
                self.maybe_readable = false;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        self.maybe_readable = input.len() == READ_CHUNK_BYTES || self.read_state > ReadState::Open;
        Ok(Some(input))
    }

    /// Appends input to the buffer.
    pub(super) fn buffer(&mut self, input: &[u8]) {
        self.read_buffer.extend_from_slice(input);
    }

    /// Takes the buffer; [`restore_buffer`](Self::restore_buffer) gives its rest back.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        mem::take(&mut self.read_buffer)
    }

    /// Puts a taken buffer back, without the bytes that were `used`.
    pub(super) fn restore_buffer(&mut self, mut buffer: Vec<u8>, used: usize) {
        if used < buffer.len() {
            buffer.drain(..used);
            self.read_buffer = buffer;
        }
    }

    /// Sends as much of a failure as the socket's buffer takes, without blocking: a peer that does
    /// not read must not delay the end of its connection.
    pub(super) fn try_send_failure(&mut self, failure: &Failure) {
        if self.partial_write {
            return;
        }
        let sent = self
            .encode(&Reply::Failure(failure.clone()))
            .and_then(|bytes| send_available(&self.stream, &bytes));
        if let Err(error) = sent {
            debug!("connection ended: {error}");
        }
    }

    /// Writes the encoded reply of a session without blocking; see [`try_write`](Self::try_write).
    pub(super) fn try_write_session(
        &mut self,
        session: Arc<Session>,
    ) -> io::Result<Option<PartialWrite>> {
        let offset = self.skip_hello();
        self.try_write(OutBuf::Shared(session), offset)
    }

    /// Writes a reply without blocking; see [`try_write`](Self::try_write).
    pub(super) fn try_reply(&mut self, reply: &Reply) -> io::Result<Option<PartialWrite>> {
        let bytes = self.encode(reply)?;
        self.try_write(OutBuf::Owned(bytes), 0)
    }

    /// Writes without blocking. Returns the rest that the socket's buffer did not take, nearly
    /// always `None`.
    fn try_write(&mut self, buffer: OutBuf, offset: usize) -> io::Result<Option<PartialWrite>> {
        let bytes = buffer.bytes()?;
        let end = offset + send_available(&self.stream, &bytes[offset..])?;
        if end == bytes.len() {
            return Ok(None);
        }
        self.partial_write = end > offset;
        Ok(Some(PartialWrite {
            buffer,
            offset: end,
        }))
    }

    /// Writes the rest of a reply that the socket's buffer did not take: only a peer that does not
    /// read needs a timer. Its bytes count as buffered.
    pub(super) async fn flush(&mut self, rest: &PartialWrite) -> io::Result<()> {
        self.partial_write = true;
        self.record_buffered(rest.buffer.own_bytes());
        let bytes = &rest.buffer.bytes()?[rest.offset..];
        timeout(IO_TIMEOUT, self.write_when_writable(bytes)).await??;
        self.record_buffered(0);
        self.partial_write = false;
        Ok(())
    }

    /// Writes the encoded reply of a session.
    pub(super) async fn write_session(&mut self, session: &Arc<Session>) -> io::Result<()> {
        match self.try_write_session(Arc::clone(session))? {
            Some(rest) => self.flush(&rest).await,
            None => Ok(()),
        }
    }

    /// Writes a reply.
    pub(super) async fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        match self.try_reply(reply)? {
            Some(rest) => self.flush(&rest).await,
            None => Ok(()),
        }
    }

    /// Limits the socket's send buffer. A client reads each reply before it sends the next request,
    /// so that the buffer of a connection with several requests holds more than one reply only if
    /// the peer does not read.
    pub(super) fn limit_send_buffer(&self) {
        if let Err(error) = set_socket_send_buffer_size(&self.stream, SEND_BUFFER_BYTES) {
            debug!("the send buffer keeps its size: {error}");
        }
    }

    async fn write_when_writable(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let write = |stream: &BorrowedFd<'_>| match send_available(stream, bytes)? {
                0 => Err(ErrorKind::WouldBlock.into()),
                count => Ok(count),
            };
            bytes = &bytes[self.async_io(Interest::WRITABLE, write).await?..];
        }
        Ok(())
    }

    /// Waits until the peer has closed; never ends after more input. A caller that has closed must
    /// not count as waiting; more input is its next request.
    pub(super) async fn peer_closed(&self) {
        let peek = |stream: &BorrowedFd<'_>| {
            let (mut byte, flags) = ([0], RecvFlags::PEEK | RecvFlags::DONTWAIT);
            Ok(recv(stream, &mut byte[..], flags)?.1)
        };
        if let Ok(1..) = self.async_io(Interest::READABLE, peek).await {
            return std::future::pending().await;
        }
        // The peer has shut down its sending side, and may still read.
        while !self.is_hung_up() {
            sleep(CLOSE_POLL_INTERVAL).await;
        }
    }

    /// Waits for input.
    ///
    /// # Errors
    /// The end of the input is [`ErrorKind::UnexpectedEof`].
    pub(super) async fn readable(&self) -> io::Result<()> {
        let read = |stream: &BorrowedFd<'_>| {
            let (_, length) = recv(stream, &mut [0][..], RecvFlags::DONTWAIT)?;
            Ok(length)
        };
        match self.async_io(Interest::READABLE, read).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Calls `operation` each time the socket is ready, until the result is not `WouldBlock`.
    pub(super) async fn async_io<T>(
        &self,
        interest: Interest,
        operation: impl FnMut(&BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let socket = async_fd::async_fd(self.stream.as_fd(), interest)?;
        socket.async_io(interest, operation).await
    }

    fn is_hung_up(&self) -> bool {
        let mut polled = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        let _ = poll(&mut polled, PollTimeout::ZERO);
        let events = polled[0].revents();
        events.is_none_or(|it| it.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
    }

    /// Returns the frames of a reply, the first one after the Hello.
    fn encode(&mut self, reply: &Reply) -> io::Result<Bytes> {
        match mem::replace(&mut self.hello_sent, true) {
            true => frame(reply),
            false => first_frames(reply),
        }
    }

    /// Returns the offset past the Hello of an encoded reply; 0 for the first reply.
    fn skip_hello(&mut self) -> usize {
        match mem::replace(&mut self.hello_sent, true) {
            true => HELLO_BYTES,
            false => 0,
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl OutBuf {
    /// Returns the number of bytes that only this connection holds.
    fn own_bytes(&self) -> usize {
        match self {
            Self::Shared(_) => 0,
            Self::Owned(bytes) => bytes.len(),
        }
    }

    fn bytes(&self) -> io::Result<&[u8]> {
        match self {
            Self::Shared(session) => match session.answers.frames.get() {
                // Encoded before the session was published.
                Some(frames) => Ok(frames.expose()),
                None => wire_convert::encoded(session).map_err(connection_error),
            },
            Self::Owned(bytes) => Ok(bytes),
        }
    }
}

/// Sends the reason for which a connection is refused, without blocking.
pub(super) fn refuse(stream: &UnixStream, failure: &Failure) {
    let sent = first_frames(&Reply::Failure(failure.clone()))
        .and_then(|bytes| send_available(stream, &bytes));
    if let Err(error) = sent {
        debug!("connection ended: {error}");
    }
}

/// Returns an error that ends a connection.
pub(super) fn connection_error(reason: impl std::fmt::Display) -> io::Error {
    io::Error::other(reason.to_string())
}

/// Returns the frame of a reply, or of a failure if the reply is too large for a frame.
fn frame(reply: &Reply) -> io::Result<Bytes> {
    let frame = reply.frame();
    let bytes = frame.or_else(|error| Reply::Failure(too_large(&error)).frame());
    bytes.map_err(connection_error)
}

/// Returns the frames of the Hello and of a reply.
fn first_frames(reply: &Reply) -> io::Result<Bytes> {
    let (mut bytes, reply) = (frame(&Reply::Hello { version: VERSION })?, frame(reply)?);
    // One allocation: a buffer that grows again leaves a copy that would have to be wiped.
    bytes.reserve_exact(reply.len());
    bytes.extend_from_slice(&reply);
    Ok(bytes)
}

/// Sends as many bytes as the socket's buffer takes, which may be none.
fn send_available(stream: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match send(stream, bytes, flags) {
        Err(Errno::AGAIN) => Ok(0),
        sent => Ok(sent?),
    }
}

fn too_large(error: &FrameError) -> Failure {
    failures::failure(
        FailureKind::Unreachable,
        Code::ProtocolMismatch,
        &format!("the answer does not fit into a frame: {error}"),
        "see the daemon's log",
    )
}

#[cfg(test)]
mod tests {
    use stsd_wire::{Message as _, Reply, VERSION};

    use super::HELLO_BYTES;

    #[test]
    fn hello_has_the_expected_length() {
        assert_eq!(
            Reply::Hello { version: VERSION }.frame().unwrap().len(),
            HELLO_BYTES
        );
    }
}
