//! Decides what becomes of the bytes that have come, and answers at once what can be: a
//! hand-out from memory is one read, one lookup and one write within one look at the
//! connection. Between two of them nothing is kept for it, neither a buffer nor a timer;
//! what takes longer is left to [`Connection::answer`].

use std::{
    io,
    mem::{self, MaybeUninit},
    os::fd::AsFd as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};
use stsd_wire::{Failure, FrameError, HEADER, Message as _, Request, VERSION, message_length};
use tokio::io::{AsyncRead as _, ReadBuf};

use super::{Connection, HELLO, convert, ended, malformed, wrong_version};
use crate::{audit::Asked, config::Profile, snapshot::Session};

/// How much is read at a time: a few usual requests.
const ROOM: usize = 512;

/// What has come. What is large is in a box, because every connection has room for one.
pub(super) enum Turn {
    /// Its Hello.
    Greeted,
    /// A request that is answered already.
    Answered,
    /// One whose answer is written to here only; the rest has to wait for the peer to read.
    Unwritten(Arc<Session>, usize),
    /// One that may take its time.
    Asked(Box<Request>),
    /// A part of one; the rest has to come in time.
    Begun,
    /// What turns the peer away.
    Refused(Box<Failure>),
    /// Nothing: it has left.
    Left,
}

impl Connection {
    /// Looks once whether a turn has come, without waiting for it. Most callers ask right after
    /// they have connected; answered like this they take neither a timer nor a wake-up.
    pub(super) fn look(&mut self) {
        let mut space = [MaybeUninit::uninit(); ROOM];
        let Ok(((came, _), _)) = recv(&self.stream, &mut space[..], RecvFlags::DONTWAIT) else {
            return;
        };
        let turn = match came {
            [] => Ok(Some(Turn::Left)),
            came => self.take(came),
        };
        self.first = match turn {
            Ok(Some(Turn::Answered) | None) => None,
            turn => turn.transpose().map(Box::new),
        };
    }

    /// Waits for the next turn; with `whole` for more than a part of one.
    pub(super) fn poll_turn(
        &mut self,
        context: &mut Context<'_>,
        whole: bool,
    ) -> Poll<io::Result<Turn>> {
        if let Some(turn) = self.held_turn()? {
            return Poll::Ready(Ok(turn));
        }
        // It came with what was taken before.
        if !whole && !self.held.is_empty() {
            return Poll::Ready(Ok(Turn::Begun));
        }
        loop {
            let mut space = [MaybeUninit::uninit(); ROOM];
            let mut room = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut room))?;
            let came = room.filled();
            if came.is_empty() {
                return Poll::Ready(Ok(Turn::Left));
            }
            match self.take(came)? {
                Some(turn) => return Poll::Ready(Ok(turn)),
                None if whole => {}
                None => return Poll::Ready(Ok(Turn::Begun)),
            }
        }
    }

    /// Takes what has come; keeps what is left of it.
    fn take(&mut self, came: &[u8]) -> io::Result<Option<Turn>> {
        if !self.held.is_empty() {
            self.held.extend_from_slice(came);
            return self.held_turn();
        }
        let (used, turn) = self.turn(came)?;
        self.held.extend_from_slice(&came[used..]);
        Ok(turn)
    }

    fn held_turn(&mut self) -> io::Result<Option<Turn>> {
        if self.held.is_empty() {
            return Ok(None);
        }
        let mut held = mem::take(&mut self.held);
        let (used, turn) = self.turn(&held)?;
        if used < held.len() {
            held.drain(..used);
            self.held = held;
        }
        Ok(turn)
    }

    /// Takes the first complete request off the front; returns how long it was. One that is
    /// too long is refused by its header alone; what is held grows only by what has come.
    fn turn(&mut self, bytes: &[u8]) -> io::Result<(usize, Option<Turn>)> {
        let mut used = 0;
        loop {
            let (message, end) = match first_message(&bytes[used..]) {
                Ok(Some(message)) => (message, used + HEADER + message.len()),
                Ok(None) if used > 0 => return Ok((used, Some(Turn::Greeted))),
                Ok(None) => return Ok((0, None)),
                Err(error) => return refused(malformed(&error.to_string())),
            };
            if self.greeted
                && let Ok(Request::Credentials {
                    profile,
                    minimum_life_millis,
                    ..
                }) = Request::decode_in_place(message)
                && let Some(turn) =
                    self.at_once(profile, Duration::from_millis(minimum_life_millis))?
            {
                return Ok((end, Some(turn)));
            }
            match (self.greeted, Request::decode(message)) {
                (false, Ok(Request::Hello { version: VERSION })) => self.greeted = true,
                (false, Ok(Request::Hello { version })) => return refused(wrong_version(version)),
                (false, Ok(_)) => return refused(malformed("a connection begins with Hello")),
                (true, Ok(Request::Hello { .. })) => return refused(malformed("a second Hello")),
                (true, Ok(request)) => return Ok((end, Some(Turn::Asked(Box::new(request))))),
                (_, Err(error)) => return refused(malformed(&error.to_string())),
            }
            // Its first request has nearly always come with it.
            used = end;
        }
    }

    /// Hands out what is in memory. Nothing if that is not all that has to be done.
    fn at_once(&mut self, profile: &str, minimum_life: Duration) -> io::Result<Option<Turn>> {
        let now = self.service.clock.boot();
        let allowed = |profile: &Profile| self.may_have(profile);
        let store = &self.service.store;
        let Some((session, entry)) = store.at_once(profile, minimum_life, now, allowed) else {
            return Ok(None);
        };
        let who = (&self.peer, self.stream.as_fd());
        let audit = &self.service.audit;
        audit.handed_out(Asked::Credentials, profile, &session, false, who);
        // After the audit, which may have looked at the process.
        self.note(Asked::Credentials, &entry);
        let bytes = convert::prepared(&session).map_err(ended)?;
        let from = if self.hello_sent { HELLO } else { 0 };
        self.hello_sent = true;
        // The socket's buffer nearly always takes an answer whole.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let written = match send(&self.stream, &bytes[from..], flags) {
            Err(Errno::AGAIN) => 0,
            written => written?,
        };
        Ok(Some(match from + written {
            all if all == bytes.len() => Turn::Answered,
            part => {
                // Nothing else may be said before the rest.
                self.writing = part > 0;
                Turn::Unwritten(session, part)
            }
        }))
    }
}

fn refused(failure: Failure) -> io::Result<(usize, Option<Turn>)> {
    Ok((0, Some(Turn::Refused(Box::new(failure)))))
}

/// Returns the message of the first frame, if all of it is there.
fn first_message(bytes: &[u8]) -> Result<Option<&[u8]>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    Ok(rest.get(..message_length(*header)?))
}

#[cfg(test)]
mod tests {
    use stsd_wire::{Message as _, Request};

    use super::{HEADER, first_message};

    #[test]
    fn messages_are_taken_one_by_one_as_they_come() {
        let mut bytes = Request::Hello { version: 1 }.frame().unwrap().to_vec();
        bytes.extend_from_slice(&Request::Reload.frame().unwrap());
        let (mut held, mut taken) = (Vec::new(), Vec::new());
        for byte in bytes {
            held.push(byte);
            if let Some(message) = first_message(&held).unwrap() {
                taken.push(Request::decode(message).unwrap());
                let end = HEADER + message.len();
                held.drain(..end);
            }
        }
        assert_eq!(taken, [Request::Hello { version: 1 }, Request::Reload]);
        assert!(held.is_empty());
    }
}
