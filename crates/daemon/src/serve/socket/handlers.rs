//! The requests of one connection: frames are taken from its input one by one. A request that
//! memory can answer is one read, one lookup and one write within one poll; the others are
//! offloaded to a task. Between two requests a connection holds neither a buffer nor a timer.

mod accepted_streams;
mod control;
mod credentials;
mod lease;

use std::{
    io, mem::MaybeUninit, os::unix::net::UnixStream, sync::Arc, task::Waker, time::Duration,
};

use stsd_codes::Code;
use stsd_wire::{
    Failure, FailureKind, FrameError, HEADER, Message as _, Reply, Request, VERSION, request_length,
};

use self::credentials::{CredentialsRequest, PendingRequest};
use super::{
    client::Client,
    connection::{Connection, PartialWrite, READ_CHUNK_BYTES, ReadState, connection_error},
    failures,
};
use crate::serve::{
    connection_limit::{Activity, ConnectionPermit},
    context::ServerContext,
};

/// Maximum patience of a caller.
const MAX_PATIENCE: Duration = Duration::from_secs(600);

/// The number of the request at which the send buffer is limited: most connections have one request,
/// and must not pay for another system call.
const SEND_BUFFER_LIMITED_AT: u8 = 4;

/// The requests of one connection.
pub(super) struct Handler {
    connection: Connection,
    client: Client,
    /// The client's Hello has arrived.
    greeted: bool,
    /// The number of requests, up to [`SEND_BUFFER_LIMITED_AT`].
    requests: u8,
    /// The request whose reply is not ready.
    pending: Option<Box<PendingRequest>>,
}

/// Adds a connection that was accepted from a lease's socket to the event loop.
pub(super) type Attach<'a> = &'a (dyn Fn(UnixStream, &Arc<ServerContext>) + Sync);

/// The outcome of a poll.
pub(super) enum ReadOutcome {
    /// No whole request has arrived.
    Incomplete,
    /// A request is answered.
    Replied,
    /// The reply is pending; the waker fires when it is ready.
    Pending,
    /// The request needs a task.
    Offload(Offload),
    /// The connection is refused.
    Reject(Box<Failure>),
    /// The peer has closed.
    Eof,
}

/// Work for a task.
pub(super) enum Offload {
    /// Write the rest of a reply.
    FlushWrite(PartialWrite),
    /// Answer a request.
    Handle(Box<Request>),
}

impl Handler {
    pub(super) fn new(stream: UnixStream, client: Client, permit: ConnectionPermit) -> Self {
        Self {
            connection: Connection::new(stream, permit),
            client,
            greeted: false,
            requests: 0,
            pending: None,
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Records that the socket may have input.
    pub(super) fn note_readable(&mut self, state: ReadState) {
        self.connection.note_readable(state);
    }

    /// Sends a failure without blocking.
    pub(super) fn try_send_failure(&mut self, failure: &Failure) {
        self.connection.try_send_failure(failure);
    }

    /// Returns `true` if the Hello or the rest of a frame is outstanding.
    pub(super) fn has_partial_input(&self) -> bool {
        !self.greeted || self.connection.has_buffered_input()
    }

    /// Polls the pending reply, or reads and dispatches at most one request. Does not block.
    /// `waker` returns the waker of the connection's slot.
    pub(super) fn poll(&mut self, waker: &dyn Fn() -> Waker) -> io::Result<ReadOutcome> {
        if let Some(pending) = self.pending.take() {
            return credentials::poll_pending(
                &self.client,
                &mut self.connection,
                &mut self.pending,
                pending,
            );
        }
        if let Some(outcome) = self.dispatch_buffered(waker)? {
            return Ok(outcome);
        }
        if !self.connection.is_maybe_readable() {
            return Ok(ReadOutcome::Incomplete);
        }
        let mut chunk = [MaybeUninit::uninit(); READ_CHUNK_BYTES];
        match self.connection.read(&mut chunk)? {
            None => Ok(ReadOutcome::Incomplete),
            Some([]) => Ok(ReadOutcome::Eof),
            Some(input) => {
                let outcome = self.feed(input, waker)?;
                Ok(outcome.unwrap_or(ReadOutcome::Incomplete))
            }
        }
    }

    /// Runs offloaded work.
    pub(super) async fn run(&mut self, work: Offload, attach: Attach<'_>) -> io::Result<()> {
        match work {
            Offload::FlushWrite(rest) => self.connection.flush(&rest).await,
            Offload::Handle(request) => self.handle(*request, attach).await,
        }
    }

    async fn handle(&mut self, request: Request, attach: Attach<'_>) -> io::Result<()> {
        let (client, connection) = (&self.client, &mut self.connection);
        let reply = match request {
            Request::Watch { profile } => {
                return credentials::watch(client, connection, &profile).await;
            }
            Request::Lease {
                profile,
                policy,
                ttl_millis,
                patience_millis,
            } => {
                let request = lease::LeaseRequest {
                    profile: &profile,
                    policy,
                    ttl: Duration::from_millis(ttl_millis),
                    patience: Duration::from_millis(patience_millis).min(MAX_PATIENCE),
                };
                return lease::lease(client, connection, attach, request).await;
            }
            Request::Status { after } => {
                connection.limit_send_buffer();
                control::status(client, connection, &after)
            }
            Request::Audit { after } => {
                connection.limit_send_buffer();
                control::audit(client, connection, &after)
            }
            Request::Conditions => {
                connection.limit_send_buffer();
                control::conditions(client, connection)
            }
            Request::Metrics => {
                connection.limit_send_buffer();
                control::metrics(client, connection)
            }
            Request::Refresh {
                profile,
                patience_millis,
            } => {
                let patience = Duration::from_millis(patience_millis).min(MAX_PATIENCE);
                control::refresh(client, connection, &profile, patience).await
            }
            Request::Reload => control::reload(client, connection).await,
            Request::HttpListener => control::http_listener(client, connection),
            Request::Url { profile } => control::url(client, connection, &profile),
            Request::RotateUrls => control::rotate_urls(client, connection).await,
            // `dispatch_frame` answers these without a task.
            Request::Hello { .. } | Request::Credentials { .. } => {
                return Err(connection_error("a bug: this request needs no task"));
            }
        };
        connection.reply(&reply).await
    }

    fn count_request(&mut self) {
        if self.requests < SEND_BUFFER_LIMITED_AT {
            self.requests += 1;
            if self.requests == SEND_BUFFER_LIMITED_AT {
                self.connection.limit_send_buffer();
            }
        }
    }

    /// Dispatches new input, and buffers its rest.
    fn feed(&mut self, input: &[u8], waker: &dyn Fn() -> Waker) -> io::Result<Option<ReadOutcome>> {
        if self.connection.has_buffered_input() {
            self.connection.buffer(input);
            return self.dispatch_buffered(waker);
        }
        let (used, outcome) = self.dispatch_frame(input, waker)?;
        if used < input.len() {
            self.connection.buffer(&input[used..]);
        }
        Ok(outcome)
    }

    /// Dispatches buffered input.
    fn dispatch_buffered(&mut self, waker: &dyn Fn() -> Waker) -> io::Result<Option<ReadOutcome>> {
        if !self.connection.has_buffered_input() {
            return Ok(None);
        }
        let buffer = self.connection.take_buffer();
        let (used, outcome) = self.dispatch_frame(&buffer, waker)?;
        self.connection.restore_buffer(buffer, used);
        Ok(outcome)
    }

    /// Dispatches the first whole request; returns the number of bytes that were used. A frame
    /// that is too long is rejected by its header alone, so that the buffer grows only by what
    /// has arrived.
    fn dispatch_frame(
        &mut self,
        bytes: &[u8],
        waker: &dyn Fn() -> Waker,
    ) -> io::Result<(usize, Option<ReadOutcome>)> {
        let mut used = 0;
        loop {
            let (message, end) = match first_message(&bytes[used..], self.greeted) {
                Ok(Some(message)) => (message, used + HEADER + message.len()),
                Ok(None) => return Ok((used, None)),
                Err(error) => return reject(malformed(&error.to_string())),
            };
            if self.greeted {
                self.count_request();
            }
            if self.greeted
                && let Ok(Request::Credentials {
                    profile,
                    minimum_life_millis,
                    patience_millis,
                }) = Request::decode_in_place(message)
            {
                let request = CredentialsRequest {
                    profile,
                    minimum_life: Duration::from_millis(minimum_life_millis),
                    patience: Duration::from_millis(patience_millis),
                    began: None,
                };
                let (client, connection) = (&self.client, &mut self.connection);
                let outcome =
                    credentials::serve(client, connection, &mut self.pending, request, waker)?;
                return Ok((end, Some(outcome)));
            }
            match (self.greeted, Request::decode(message)) {
                (false, Ok(Request::Hello { version: VERSION })) => self.greeted = true,
                (false, Ok(Request::Hello { version })) => return reject(wrong_version(version)),
                (false, Ok(_)) => return reject(malformed("a connection begins with Hello")),
                (true, Ok(Request::Hello { .. })) => return reject(malformed("a second Hello")),
                (true, Ok(request)) => {
                    let work = Offload::Handle(Box::new(request));
                    return Ok((end, Some(ReadOutcome::Offload(work))));
                }
                (_, Err(error)) => return reject(malformed(&error.to_string())),
            }
            // The first request nearly always arrives together with the Hello.
            used = end;
        }
    }
}

impl Offload {
    /// Returns the number of bytes that the work holds.
    pub(super) fn buffered(&self) -> usize {
        match self {
            Self::Handle(request) => match &**request {
                Request::Lease { policy, .. } => policy.as_ref().map_or(0, String::len),
                _ => 0,
            },
            // Recorded when the rest is written.
            Self::FlushWrite(_) => 0,
        }
    }

    /// Returns the activity of a connection during the work.
    pub(super) fn activity(&self) -> Activity {
        match self {
            Self::Handle(request) if matches!(**request, Request::Lease { .. }) => {
                Activity::Leasing
            }
            Self::Handle(_) | Self::FlushWrite(_) => Activity::Waiting,
        }
    }
}

impl ReadOutcome {
    /// Returns the outcome of a write.
    fn of_write(rest: Option<PartialWrite>) -> Self {
        match rest {
            None => Self::Replied,
            Some(rest) => Self::Offload(Offload::FlushWrite(rest)),
        }
    }

    /// Returns the outcome of a reply that was written without blocking.
    fn of_reply(connection: &mut Connection, reply: &Reply) -> io::Result<Self> {
        Ok(Self::of_write(connection.try_reply(reply)?))
    }
}

/// Returns the failure for a frame or a request that breaks the protocol.
fn malformed(reason: &str) -> Failure {
    failures::failure(
        FailureKind::Malformed,
        Code::ProtocolMismatch,
        reason,
        "check that the program is a client of stsd; stsd-protocol(7) describes the frames",
    )
}

fn wrong_version(client_version: u16) -> Failure {
    let older = if client_version > VERSION {
        "daemon"
    } else {
        "client"
    };
    failures::failure(
        FailureKind::WrongVersion,
        Code::ProtocolMismatch,
        &format!("the client speaks protocol version {client_version}, the daemon {VERSION}"),
        &format!("upgrade the {older}"),
    )
}

fn reject(failure: Failure) -> io::Result<(usize, Option<ReadOutcome>)> {
    Ok((0, Some(ReadOutcome::Reject(Box::new(failure)))))
}

/// Returns the message of the first frame; `None` if the frame is incomplete. Before the Hello no
/// frame may be as long as that of a lease.
fn first_message(bytes: &[u8], greeted: bool) -> Result<Option<&[u8]>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let first_byte = if greeted {
        rest.first().copied()
    } else {
        Some(0)
    };
    let length = request_length(*header, first_byte)?;
    Ok(length.and_then(|length| rest.get(..length)))
}

#[cfg(test)]
mod tests {
    use stsd_wire::{Message as _, Request};

    use super::{HEADER, first_message};

    #[test]
    fn messages_are_split_at_any_byte() {
        let mut bytes = Request::Hello { version: 1 }.frame().unwrap().to_vec();
        bytes.extend_from_slice(&Request::Reload.frame().unwrap());
        let (mut buffer, mut messages) = (Vec::new(), Vec::new());
        for byte in bytes {
            buffer.push(byte);
            if let Some(message) = first_message(&buffer, true).unwrap() {
                messages.push(Request::decode(message).unwrap());
                let end = HEADER + message.len();
                buffer.drain(..end);
            }
        }
        assert_eq!(messages, [Request::Hello { version: 1 }, Request::Reload]);
        assert!(buffer.is_empty());
    }
}
