//! Decides how one connection goes: Hello, then requests, each with its answer.
mod read;

use std::{
    io::{self, ErrorKind},
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
    net::{RecvFlags, SendFlags, recv, send},
};
use stsd_wire::{Failure, FailureKind, FrameError, HEADER, Message as _, Reply, Request, VERSION};
use tokio::{
    io::Interest,
    time::{sleep, timeout},
};
use tracing::debug;

pub(super) use self::read::{Rest, Turn, Work};
use super::{DEADLINE, wire_convert};
use crate::{
    access::{Access, peer::Peer},
    audit::Operation,
    profile::Profile,
    runtime::{async_fd, clock::BootTime},
    serve::{context::Service, socket::handlers::credentials::Waiting},
    session::store::ProfileEntry,
};

/// No caller waits longer than this, whatever it asks for.
pub(super) const LONGEST_PATIENCE: Duration = Duration::from_secs(600);

/// How often it is looked whether a peer that says no more has left.
const LOOK: Duration = Duration::from_millis(500);

/// Length of an encoded `Reply::Hello`: header, variant and a version below 251.
pub(super) const HELLO: usize = HEADER + 2;

/// One connection and what is known of it.
pub(super) struct Connection {
    pub(super) stream: UnixStream,
    pub(super) service: Arc<Service>,
    pub(super) peer: Peer,
    /// What has come and is not yet a request.
    pub(super) held: Vec<u8>,
    /// Its Hello has come.
    pub(super) greeted: bool,
    /// Our Hello goes out with the first answer.
    pub(super) hello_sent: bool,
    /// Part of an answer may be out; nothing else can be said then.
    pub(super) writing: bool,
    /// Something may have come that has not been read.
    pub(super) may_have_more: bool,
    /// What has been said of it, the last word of all.
    pub(super) said: Said,
    /// The request whose answer it waits for.
    pub(super) waiting: Option<Box<Waiting>>,
}

/// What is known of what a peer has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Said {
    /// There may be more to come.
    Something,
    /// Nothing comes after what has come; it may still listen.
    ItsLast,
    /// It does not listen any more.
    GoodBye,
}

/// Tells a peer why it is not answered.
pub(super) fn refuse(stream: &UnixStream, failure: &Failure) {
    let told =
        first_reply(&Reply::Failure(failure.clone())).and_then(|bytes| send_some(stream, &bytes));
    if let Err(error) = told {
        debug!("connection ended: {error}");
    }
}

impl Connection {
    pub(super) fn new(stream: UnixStream, service: Arc<Service>, peer: Peer) -> Self {
        Self {
            stream,
            service,
            peer,
            held: Vec::new(),
            greeted: false,
            hello_sent: false,
            writing: false,
            // It may have asked already.
            may_have_more: true,
            said: Said::Something,
            waiting: None,
        }
    }

    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    pub(super) fn now(&self) -> BootTime {
        self.service.clock.boot()
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Notes that something has come, or may have.
    pub(super) fn has_spoken(&mut self, said: Said) {
        self.may_have_more = true;
        self.said = said.max(self.said);
    }

    /// Tells whether something may have come that has not been read.
    pub(super) fn may_have_more(&self) -> bool {
        self.may_have_more
    }

    /// Tells whether it has begun something that has to go on in time.
    pub(super) fn has_to_go_on(&self) -> bool {
        !self.greeted || !self.held.is_empty()
    }

    /// Tells a peer that has to leave why, if it hears that at once: who does not read must
    /// not hold its place any longer for being told.
    pub(super) fn say(&mut self, failure: &Failure) {
        if self.writing {
            return;
        }
        let told = self
            .bytes_of(&Reply::Failure(failure.clone()))
            .and_then(|bytes| send_some(&self.stream, &bytes));
        if let Err(error) = told {
            debug!("connection ended: {error}");
        }
    }

    /// Does what takes its time.
    pub(super) async fn take_up(&mut self, work: Work) -> io::Result<()> {
        match work {
            Work::Write(rest, from) => self.write(&rest.bytes()?[from..]).await,
            Work::Answer(request) => self.answer(*request).await,
        }
    }

    pub(super) async fn answer(&mut self, request: Request) -> io::Result<()> {
        match request {
            Request::Watch { profile } => self.watch(&profile).await,
            Request::Status { after } => {
                let steers = self.service.access.can_administer(&self.peer);
                let visible = |profile: &Profile| steers || self.may_have(profile);
                let status = wire_convert::status(&self.service, &after, visible);
                self.reply(&Reply::Status(status)).await
            }
            Request::Audit { after } => {
                let reply = self.audit(&after);
                self.reply(&reply).await
            }
            Request::Refresh {
                profile,
                patience_millis,
            } => {
                let patience = Duration::from_millis(patience_millis);
                let reply = self.refresh(&profile, patience).await;
                self.reply(&reply).await
            }
            Request::Reload => {
                let reply = self.reload().await;
                self.reply(&reply).await
            }
            Request::Lease {
                profile,
                policy,
                ttl_millis,
                patience_millis,
            } => {
                let ttl = Duration::from_millis(ttl_millis);
                let patience = Duration::from_millis(patience_millis).min(LONGEST_PATIENCE);
                self.lease(&profile, policy, ttl, patience).await
            }
            Request::Url { profile } => {
                let reply = self.url(&profile);
                self.reply(&reply).await
            }
            Request::RotateUrls => {
                let reply = self.rotate_urls().await;
                self.reply(&reply).await
            }
            // They need no task.
            Request::Hello { .. } | Request::Credentials { .. } => Err(ended("a bug")),
        }
    }

    /// Ends when the peer has left; never while it may only have asked the next question
    /// already. Who waits no longer must not count as waiting.
    pub(super) async fn left(&self) {
        let look = |stream: &BorrowedFd<'_>| {
            let (mut byte, flags) = ([0], RecvFlags::PEEK | RecvFlags::DONTWAIT);
            Ok(recv(stream, &mut byte[..], flags)?.1)
        };
        if let Ok(1..) = self.wait_and(Interest::READABLE, look).await {
            return std::future::pending().await;
        }
        // It says no more, and may still listen.
        while !self.hung_up() {
            sleep(LOOK).await;
        }
    }

    /// Ends when the peer says something, or with an error when it has left.
    pub(super) async fn speaks(&self) -> io::Result<()> {
        let read = |stream: &BorrowedFd<'_>| {
            let (_, length) = recv(stream, &mut [0][..], RecvFlags::DONTWAIT)?;
            Ok(length)
        };
        match self.wait_and(Interest::READABLE, read).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Does something with the socket as soon as that does not have to wait.
    pub(super) async fn wait_and<T>(
        &self,
        interest: Interest,
        what: impl FnMut(&BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let socket = async_fd::async_fd(self.stream.as_fd(), interest)?;
        socket.async_io(interest, what).await
    }

    pub(super) fn hung_up(&self) -> bool {
        let mut looked = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        let _ = poll(&mut looked, PollTimeout::ZERO);
        let seen = looked[0].revents();
        seen.is_none_or(|it| it.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
    }

    /// Returns a profile's place, if the peer may have it; who steers may renew any.
    pub(super) fn find(
        &self,
        asked: Operation,
        profile: &str,
    ) -> Result<Arc<ProfileEntry>, Failure> {
        let Some(entry) = self.service.store.find(profile) else {
            return Err(self.missing(asked, profile));
        };
        let steers = asked == Operation::Refresh && self.service.access.can_administer(&self.peer);
        if steers || self.may_have(&entry.profile) {
            Ok(entry)
        } else {
            Err(self.refuse(asked, profile))
        }
    }

    pub(super) fn may_have(&self, profile: &Profile) -> bool {
        let access: &Access = &self.service.access;
        access.can_read(&profile.allow, &self.peer, self.stream.as_fd())
    }

    /// Says that there is no such profile, to those who may see them all. Others are told
    /// what they are told of a profile that is not for them.
    pub(super) fn missing(&self, asked: Operation, profile: &str) -> Failure {
        if self.service.access.can_administer(&self.peer) {
            wire_convert::unknown_profile(profile)
        } else {
            self.refuse(asked, profile)
        }
    }

    pub(super) fn refuse(&self, asked: Operation, profile: &str) -> Failure {
        let who = (&self.peer, self.stream.as_fd());
        self.service.audit.refused(asked, Some(profile), who);
        wire_convert::no_rule()
    }

    /// Says why there is no answer.
    pub(super) fn fail(&mut self, failure: Failure) -> io::Result<Turn> {
        let bytes = self.bytes_of(&Reply::Failure(failure))?;
        self.write_at_once(Rest::Own(bytes), 0)
    }

    /// Writes an answer without waiting for the peer to read: the socket's buffer nearly
    /// always takes it whole.
    pub(super) fn write_at_once(&mut self, rest: Rest, from: usize) -> io::Result<Turn> {
        let bytes = rest.bytes()?;
        let until = from + send_some(&self.stream, &bytes[from..])?;
        if until == bytes.len() {
            return Ok(Turn::Answered);
        }
        // Nothing else may be said before the rest.
        self.writing = until > from;
        Ok(Turn::Busy(Work::Write(rest, until)))
    }

    pub(super) async fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        let bytes = self.bytes_of(reply)?;
        self.write(&bytes).await
    }

    pub(super) fn bytes_of(&mut self, reply: &Reply) -> io::Result<Bytes> {
        match self.hello_sent {
            true => frame(reply),
            false => {
                self.hello_sent = true;
                first_reply(reply)
            }
        }
    }

    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.writing = true;
        // The socket's buffer nearly always takes an answer whole; only a peer that does not
        // read needs a timer.
        bytes = &bytes[send_some(&self.stream, bytes)?..];
        if !bytes.is_empty() {
            let rest = self.write_slowly(bytes);
            timeout(DEADLINE, rest).await??;
        }
        self.writing = false;
        Ok(())
    }

    pub(super) async fn write_slowly(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let some = |stream: &BorrowedFd<'_>| match send_some(stream, bytes)? {
                0 => Err(ErrorKind::WouldBlock.into()),
                count => Ok(count),
            };
            bytes = &bytes[self.wait_and(Interest::WRITABLE, some).await?..];
        }
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Bytes that are wiped.
pub(super) type Bytes = zeroize::Zeroizing<Vec<u8>>;

/// Returns the frame of a reply, or of what is said instead if it is too large for one.
fn frame(reply: &Reply) -> io::Result<Bytes> {
    let whole = reply.frame();
    let bytes = whole.or_else(|error| Reply::Failure(too_large(&error)).frame());
    bytes.map_err(ended)
}

/// Returns it after our Hello.
fn first_reply(reply: &Reply) -> io::Result<Bytes> {
    let (mut bytes, reply) = (frame(&Reply::Hello { version: VERSION })?, frame(reply)?);
    // Not more than once: what it leaves behind would have to be wiped.
    bytes.reserve_exact(reply.len());
    bytes.extend_from_slice(&reply);
    Ok(bytes)
}

/// Sends as much as the socket takes at once, which may be nothing.
fn send_some(stream: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match send(stream, bytes, flags) {
        Err(Errno::AGAIN) => Ok(0),
        sent => Ok(sent?),
    }
}

/// Turns a protocol error into the error of a connection.
pub(super) fn ended(reason: impl std::fmt::Display) -> io::Error {
    io::Error::other(reason.to_string())
}

pub(super) fn malformed(reason: &str) -> Failure {
    wire_convert::failure(
        FailureKind::Malformed,
        reason,
        "docs/protocol.md describes the frames; is this a client of stsd?",
    )
}

fn too_large(error: &FrameError) -> Failure {
    wire_convert::failure(
        FailureKind::Unreachable,
        &format!("the answer does not fit: {error}"),
        "the daemon's log has all of it",
    )
}

fn wrong_version(theirs: u16) -> Failure {
    let side = if theirs > VERSION { "daemon" } else { "client" };
    wire_convert::failure(
        FailureKind::WrongVersion,
        &format!("the client speaks protocol version {theirs}, the daemon {VERSION}"),
        &format!("upgrade the {side}"),
    )
}

#[cfg(test)]
mod tests {
    use stsd_wire::{Message as _, Reply, VERSION};

    use super::HELLO;

    #[test]
    fn hello_is_as_long_as_we_say() {
        assert_eq!(
            Reply::Hello { version: VERSION }.frame().unwrap().len(),
            HELLO
        );
    }
}
