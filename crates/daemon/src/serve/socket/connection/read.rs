//! Decides what becomes of the bytes that have come, and answers at once what can be: a
//! hand-out from memory is one read, one lookup and one write within one look at the
//! connection. Between two of them nothing is kept for it, neither a buffer nor a timer;
//! what needs a task is left to [`Connection::take_up`].

use std::{
    io,
    mem::{self, MaybeUninit},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use stsd_wire::{Failure, FrameError, HEADER, Message as _, Request, VERSION, message_length};

use super::{Bytes, Connection, Said, ended, malformed, wrong_version};
use crate::{
    serve::socket::{handlers::credentials::Wish, wire_convert},
    session::snapshot::Session,
};

/// How much is read at a time: a few usual requests.
const ROOM: usize = 512;

/// What has come.
pub(in crate::serve::socket) enum Turn {
    /// Nothing yet, or a part of a request.
    Nothing,
    /// A request that is answered already.
    Answered,
    /// One whose answer has to be waited for; whoever asks is called then.
    Waits,
    /// One that takes its time.
    Busy(Work),
    /// What turns the peer away.
    Refused(Box<Failure>),
    /// It has left.
    Left,
}

/// What there is to do for a request.
pub(in crate::serve::socket) enum Work {
    /// Its answer is written to here only; the rest has to wait for the peer to read.
    Write(Rest, usize),
    /// All of it.
    Answer(Box<Request>),
}

/// What an answer is read from while it is written.
pub(in crate::serve::socket) enum Rest {
    /// It is shared with all who get the same.
    Prepared(Arc<Session>),
    Own(Bytes),
}

impl Rest {
    pub(super) fn bytes(&self) -> io::Result<&[u8]> {
        match self {
            Self::Prepared(session) => wire_convert::prepared(session).map_err(ended),
            Self::Own(bytes) => Ok(bytes),
        }
    }
}

impl Connection {
    /// Looks once whether a request has come, or what its answer waits for, without waiting
    /// itself. `waker` makes what calls again.
    pub(in crate::serve::socket) fn look(&mut self, waker: &dyn Fn() -> Waker) -> io::Result<Turn> {
        if let Some(waiting) = self.waiting.take() {
            return self.wait(waiting);
        }
        if let Some(turn) = self.held_turn(waker)? {
            return Ok(turn);
        }
        if !self.may_have_more {
            return Ok(Turn::Nothing);
        }
        let mut space = [MaybeUninit::uninit(); ROOM];
        let came = match recv(&self.stream, &mut space[..], RecvFlags::DONTWAIT) {
            Ok(((came, _), _)) => came,
            Err(Errno::INTR) => return Ok(Turn::Nothing),
            Err(Errno::AGAIN) => {
                self.may_have_more = false;
                return Ok(Turn::Nothing);
            }
            Err(error) => return Err(error.into()),
        };
        if came.is_empty() {
            return Ok(Turn::Left);
        }
        self.may_have_more = came.len() == ROOM || self.said > Said::Something;
        Ok(self.take(came, waker)?.unwrap_or(Turn::Nothing))
    }

    /// Takes what has come; keeps what is left of it.
    fn take(&mut self, came: &[u8], waker: &dyn Fn() -> Waker) -> io::Result<Option<Turn>> {
        if !self.held.is_empty() {
            self.held.extend_from_slice(came);
            return self.held_turn(waker);
        }
        let (used, turn) = self.turn(came, waker)?;
        if used < came.len() {
            self.held.extend_from_slice(&came[used..]);
        }
        Ok(turn)
    }

    fn held_turn(&mut self, waker: &dyn Fn() -> Waker) -> io::Result<Option<Turn>> {
        if self.held.is_empty() {
            return Ok(None);
        }
        let mut held = mem::take(&mut self.held);
        let (used, turn) = self.turn(&held, waker)?;
        if used < held.len() {
            held.drain(..used);
            self.held = held;
        }
        Ok(turn)
    }

    /// Takes the first complete request off the front; returns how long it was. One that is
    /// too long is refused by its header alone; what is held grows only by what has come.
    fn turn(
        &mut self,
        bytes: &[u8],
        waker: &dyn Fn() -> Waker,
    ) -> io::Result<(usize, Option<Turn>)> {
        let mut used = 0;
        loop {
            let (message, end) = match first_message(&bytes[used..]) {
                Ok(Some(message)) => (message, used + HEADER + message.len()),
                Ok(None) => return Ok((used, None)),
                Err(error) => return refused(malformed(&error.to_string())),
            };
            if self.greeted
                && let Ok(Request::Credentials {
                    profile,
                    minimum_life_millis,
                    patience_millis,
                }) = Request::decode_in_place(message)
            {
                let wish = Wish {
                    profile,
                    minimum_life: Duration::from_millis(minimum_life_millis),
                    patience: Duration::from_millis(patience_millis),
                };
                return Ok((end, Some(self.credentials(wish, waker)?)));
            }
            match (self.greeted, Request::decode(message)) {
                (false, Ok(Request::Hello { version: VERSION })) => self.greeted = true,
                (false, Ok(Request::Hello { version })) => return refused(wrong_version(version)),
                (false, Ok(_)) => return refused(malformed("a connection begins with Hello")),
                (true, Ok(Request::Hello { .. })) => return refused(malformed("a second Hello")),
                (true, Ok(request)) => {
                    let work = Work::Answer(Box::new(request));
                    return Ok((end, Some(Turn::Busy(work))));
                }
                (_, Err(error)) => return refused(malformed(&error.to_string())),
            }
            // Its first request has nearly always come with it.
            used = end;
        }
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
