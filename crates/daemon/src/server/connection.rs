//! Decides how one connection goes: Hello, then requests, each with its answer.

mod lease;
mod turn;

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
    sync::oneshot,
    time::{sleep, timeout},
};
use tracing::debug;

pub(super) use self::turn::{Turn, Work};

use super::{DEADLINE, convert};
use crate::{
    access::Access,
    audit::Asked,
    caller::Caller,
    clock::BootTime,
    config::Profile,
    peer::Peer,
    ready,
    service::{Order, Service},
    snapshot::{Outcome, Session},
    store::Entry,
};

/// No caller waits longer than this, whatever it asks for.
const LONGEST_PATIENCE: Duration = Duration::from_secs(600);

/// How often it is looked whether a peer that says no more has left.
const LOOK: Duration = Duration::from_millis(500);

/// Length of an encoded `Reply::Hello`: header, variant and a version below 251.
const HELLO: usize = HEADER + 2;

/// One connection and what is known of it.
pub(super) struct Connection {
    stream: UnixStream,
    service: Arc<Service>,
    peer: Peer,
    /// What has come and is not yet a request.
    held: Vec<u8>,
    /// Its Hello has come.
    greeted: bool,
    /// Our Hello goes out with the first answer.
    hello_sent: bool,
    /// Part of an answer may be out; nothing else can be said then.
    writing: bool,
    /// Something may have come that has not been read.
    may_have_more: bool,
    /// Nothing comes after what has come.
    said_its_last: bool,
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
            said_its_last: false,
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
    pub(super) fn has_spoken(&mut self, its_last: bool) {
        self.may_have_more = true;
        self.said_its_last |= its_last;
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
            Work::Write(session, from) => self.write_on(&session, from).await,
            Work::Answer(request) => self.answer(*request).await,
        }
    }

    async fn write_on(&mut self, session: &Session, from: usize) -> io::Result<()> {
        let bytes = convert::prepared(session).map_err(ended)?;
        self.write(&bytes[from..]).await
    }

    async fn answer(&mut self, request: Request) -> io::Result<()> {
        match request {
            Request::Credentials {
                profile,
                minimum_life_millis,
                patience_millis,
            } => {
                let minimum_life = Duration::from_millis(minimum_life_millis);
                let patience = Duration::from_millis(patience_millis);
                self.credentials(&profile, minimum_life, patience).await
            }
            Request::Watch { profile } => self.watch(&profile).await,
            Request::Status { after } => {
                let steers = self.service.access.may_steer(&self.peer);
                let visible = |profile: &Profile| steers || self.may_have(profile);
                let status = convert::status(&self.service, &after, visible);
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
            Request::Hello { .. } => Err(ended("a second Hello")),
        }
    }

    /// The hand-out: one lookup, and one write of bytes that are ready.
    async fn credentials(
        &mut self,
        profile: &str,
        minimum_life: Duration,
        patience: Duration,
    ) -> io::Result<()> {
        let (store, clock) = (&self.service.store, &*self.service.clock);
        let patience = patience.min(LONGEST_PATIENCE);
        let asked = Asked::Credentials;
        let allowed = |profile: &Profile| self.may_have(profile);
        let outcome = tokio::select! {
            biased;
            outcome = store.hand_out(profile, minimum_life, patience, clock, allowed) => outcome,
            () = self.left() => {
                // It has asked all the same.
                if let Some(entry) = store.find(profile).filter(|it| self.may_have(&it.profile)) {
                    self.note(asked, &entry, self.now());
                }
                return Ok(());
            }
        };
        let failure = match outcome {
            (Outcome::Ready(session), Some(entry)) => {
                return self.hand_out(asked, &entry, &session, false).await;
            }
            (Outcome::Short(session), Some(entry)) => {
                return self.hand_out(asked, &entry, &session, true).await;
            }
            (Outcome::NotAllowed, _) => self.refuse(asked, profile),
            (_, None) => self.missing(asked, profile),
            (other, Some(entry)) => {
                self.note(asked, &entry, self.now());
                convert::unserved(&other)
            }
        };
        self.reply(&Reply::Failure(failure)).await
    }

    fn note(&self, asked: Asked, entry: &Entry, now: BootTime) {
        entry
            .record
            .last_caller
            .note(Caller::of(&self.peer, asked, now));
    }

    async fn hand_out(
        &mut self,
        asked: Asked,
        entry: &Entry,
        session: &Session,
        short: bool,
    ) -> io::Result<()> {
        let who = (&self.peer, self.stream.as_fd());
        let audit = &self.service.audit;
        let (name, now) = (entry.profile.name.as_str(), self.now());
        audit.handed_out(asked, name, session, short, now, who);
        // After the audit, which may have looked at the process.
        self.note(asked, entry, now);
        if short {
            let reply = Reply::ShortCredentials(convert::credentials(session));
            return self.reply(&reply).await;
        }
        let bytes = convert::prepared(session).map_err(ended)?;
        let bytes = if self.hello_sent {
            &bytes[HELLO..]
        } else {
            bytes
        };
        self.hello_sent = true;
        self.write(bytes).await
    }

    /// Sends credentials now and at each rotation, until the peer leaves.
    async fn watch(&mut self, profile: &str) -> io::Result<()> {
        const MORE: &str = "a request on a connection that watches";
        if !self.held.is_empty() {
            return Err(ended(MORE));
        }
        let clock = Arc::clone(&self.service.clock);
        let mut entry = match self.find(Asked::Watch, profile) {
            Ok(entry) => entry,
            Err(failure) => return self.reply(&Reply::Failure(failure)).await,
        };
        let mut changes = entry.subscribe();
        let mut sent: Option<Arc<Session>> = None;
        loop {
            let snapshot = changes.look().clone();
            if snapshot.removed {
                match self.find(Asked::Watch, profile) {
                    Ok(changed) => entry = changed,
                    Err(failure) => {
                        self.reply(&Reply::Failure(failure)).await?;
                        return Err(ended("the watched profile is gone, or not for this peer"));
                    }
                }
                changes = entry.subscribe();
                continue;
            }
            let session = entry.current(Duration::ZERO, clock.boot());
            if session.is_none() {
                entry.wake.notify_one();
            }
            if let Some(session) = session.filter(|new| !is_same(sent.as_ref(), new)) {
                entry.count_hand_out(&session);
                self.hand_out(Asked::Watch, &entry, &session, false).await?;
                sent = Some(session);
            }
            tokio::select! {
                () = changes.changed() => {}
                left = self.speaks() => {
                    left?;
                    return Err(ended(MORE));
                }
            }
        }
    }

    async fn refresh(&mut self, profile: &str, patience: Duration) -> Reply {
        if !self.service.access.may_do_more() {
            return Reply::Failure(self.refuse_more(Asked::Refresh));
        }
        if let Err(failure) = self.find(Asked::Refresh, profile) {
            return Reply::Failure(failure);
        }
        let (store, clock) = (&self.service.store, &*self.service.clock);
        let patience = patience.min(LONGEST_PATIENCE);
        let outcome = tokio::select! {
            biased;
            outcome = store.refresh(profile, patience, clock) => outcome,
            () = self.left() => return Reply::Done,
        };
        match outcome {
            Ok(()) => Reply::Done,
            Err(Outcome::Removed) => Reply::Failure(convert::unknown_profile(profile)),
            Err(instead) => Reply::Failure(convert::unserved(&instead)),
        }
    }

    fn audit(&self, after: &str) -> Reply {
        if !self.service.access.may_do_more() {
            return Reply::Failure(self.refuse_more(Asked::Audit));
        }
        let steers = self.service.access.may_steer(&self.peer);
        let told = |entry: &Entry, caller: &Caller| {
            steers || (caller.uid == self.peer.uid && self.may_have(&entry.profile))
        };
        let mut audit = convert::callers(&self.service, after, told);
        if steers {
            convert::add_places(&mut audit, &self.service);
        }
        Reply::Audit(audit)
    }

    fn url(&self, profile: &str) -> Reply {
        if !self.service.access.may_do_more() {
            return Reply::Failure(self.refuse_more(Asked::Url));
        }
        if let Err(failure) = self.find(Asked::Url, profile) {
            return Reply::Failure(failure);
        }
        let Some(address) = self.service.http.address() else {
            return Reply::Failure(convert::no_http());
        };
        let secret = self.service.http.secret().text();
        Reply::Url(convert::url(address, &secret, profile))
    }

    async fn rotate_urls(&mut self) -> Reply {
        if !self.service.access.may_steer(&self.peer) {
            return Reply::Failure(self.refuse_steering(convert::no_rotation()));
        }
        let (tell, told) = oneshot::channel();
        let ordered = self.service.orders.send(Order::Rotate(tell)).await;
        match (ordered, told.await) {
            (Ok(()), Ok(())) => Reply::Done,
            _ => Reply::Failure(convert::stopping()),
        }
    }

    /// Turns away who may not steer: who has come by a lease is told what that gives.
    fn refuse_steering(&self, reason: Failure) -> Failure {
        if !self.service.access.may_do_more() {
            return self.refuse_more(Asked::Reload);
        }
        let who = (&self.peer, self.stream.as_fd());
        self.service.audit.refused(Asked::Reload, None, who);
        reason
    }

    async fn reload(&mut self) -> Reply {
        if !self.service.access.may_steer(&self.peer) {
            return Reply::Failure(self.refuse_steering(convert::no_reload()));
        }
        let (tell, told) = oneshot::channel();
        if self.service.orders.send(Order::Reload(tell)).await.is_err() {
            return Reply::Failure(convert::stopping());
        }
        match told.await {
            Ok(Ok(())) => Reply::Done,
            Ok(Err(mistakes)) => Reply::Failure(convert::failure(
                FailureKind::BadConfig,
                &mistakes.to_string(),
                "the running configuration stays in force; correct the file and reload again",
            )),
            Err(_) => Reply::Failure(convert::stopping()),
        }
    }

    /// Ends when the peer has left; never while it may only have asked the next question
    /// already. Who waits no longer must not count as waiting.
    async fn left(&self) {
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
    async fn speaks(&self) -> io::Result<()> {
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
    async fn wait_and<T>(
        &self,
        interest: Interest,
        what: impl FnMut(&BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let socket = ready::watched(self.stream.as_fd(), interest)?;
        socket.async_io(interest, what).await
    }

    fn hung_up(&self) -> bool {
        let mut looked = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        let _ = poll(&mut looked, PollTimeout::ZERO);
        let seen = looked[0].revents();
        seen.is_none_or(|it| it.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
    }

    /// Returns a profile's place, if the peer may have it; who steers may renew any.
    fn find(&self, asked: Asked, profile: &str) -> Result<Arc<Entry>, Failure> {
        let Some(entry) = self.service.store.find(profile) else {
            return Err(self.missing(asked, profile));
        };
        let steers = asked == Asked::Refresh && self.service.access.may_steer(&self.peer);
        if steers || self.may_have(&entry.profile) {
            Ok(entry)
        } else {
            Err(self.refuse(asked, profile))
        }
    }

    fn may_have(&self, profile: &Profile) -> bool {
        let access: &Access = &self.service.access;
        access.may_have(&profile.allow, &self.peer, self.stream.as_fd())
    }

    /// Says that there is no such profile, to those who may see them all. Others are told
    /// what they are told of a profile that is not for them.
    fn missing(&self, asked: Asked, profile: &str) -> Failure {
        if self.service.access.may_steer(&self.peer) {
            convert::unknown_profile(profile)
        } else {
            self.refuse(asked, profile)
        }
    }

    fn refuse(&self, asked: Asked, profile: &str) -> Failure {
        let who = (&self.peer, self.stream.as_fd());
        self.service.audit.refused(asked, Some(profile), who);
        convert::no_rule()
    }

    /// Turns away who wants more of a lease than credentials.
    fn refuse_more(&self, asked: Asked) -> Failure {
        let who = (&self.peer, self.stream.as_fd());
        self.service.audit.refused(asked, None, who);
        convert::no_more_by_lease()
    }

    async fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        let bytes = self.bytes_of(reply)?;
        self.write(&bytes).await
    }

    fn bytes_of(&mut self, reply: &Reply) -> io::Result<Bytes> {
        match self.hello_sent {
            true => frame(reply),
            false => {
                self.hello_sent = true;
                first_reply(reply)
            }
        }
    }

    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
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

    async fn write_slowly(&self, mut bytes: &[u8]) -> io::Result<()> {
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
type Bytes = zeroize::Zeroizing<Vec<u8>>;

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
fn ended(reason: impl std::fmt::Display) -> io::Error {
    io::Error::other(reason.to_string())
}

fn is_same(sent: Option<&Arc<Session>>, new: &Arc<Session>) -> bool {
    sent.is_some_and(|sent| Arc::ptr_eq(sent, new))
}

fn malformed(reason: &str) -> Failure {
    convert::failure(
        FailureKind::Malformed,
        reason,
        "docs/protocol.md describes the frames; is this a client of stsd?",
    )
}

fn too_large(error: &FrameError) -> Failure {
    convert::failure(
        FailureKind::Unreachable,
        &format!("the answer does not fit: {error}"),
        "the daemon's log has all of it",
    )
}

fn wrong_version(theirs: u16) -> Failure {
    let side = if theirs > VERSION { "daemon" } else { "client" };
    convert::failure(
        FailureKind::WrongVersion,
        &format!("the client speaks protocol version {theirs}, the daemon {VERSION}"),
        &format!("upgrade the {side}"),
    )
}

#[cfg(test)]
mod tests {
    use super::HELLO;
    use stsd_wire::{Message as _, Reply, VERSION};

    #[test]
    fn hello_is_as_long_as_we_say() {
        assert_eq!(
            Reply::Hello { version: VERSION }.frame().unwrap().len(),
            HELLO
        );
    }
}
