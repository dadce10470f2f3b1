//! Decides how bytes that have come become requests: one at a time, whole, and in time.

use std::{io, time::Duration};

use stsd_wire::{FrameError, HEADER, Message as _, Request, message_length};
use tokio::{
    io::AsyncReadExt as _,
    net::UnixStream,
    time::{Instant, timeout_at},
};

use super::DEADLINE;

/// What a request usually needs, header included.
const USUAL_REQUEST: usize = 256;

/// Bytes that have come and are not yet a request.
pub(super) struct Inbox(Vec<u8>);

impl Inbox {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(USUAL_REQUEST))
    }

    /// Tells whether more has come than the requests that were taken.
    pub(super) fn holds_more(&self) -> bool {
        !self.0.is_empty()
    }

    /// Reads the next request; nothing when the peer has left. `deadline` counts for its
    /// first byte, the rest must always come in time.
    pub(super) async fn next_request(
        &mut self,
        stream: &mut UnixStream,
        deadline: Option<Duration>,
    ) -> io::Result<Result<Option<Request>, FrameError>> {
        let mut until = deadline.map(|deadline| Instant::now() + deadline);
        loop {
            match take_request(&mut self.0) {
                Ok(None) => {}
                Ok(Some(request)) => return Ok(Ok(Some(request))),
                Err(error) => return Ok(Err(error)),
            }
            if !self.0.is_empty() && until.is_none() {
                until = Some(Instant::now() + DEADLINE);
            }
            let read = stream.read_buf(&mut self.0);
            let count = match until {
                Some(until) => timeout_at(until, read).await??,
                None => read.await?,
            };
            if count == 0 {
                return Ok(Ok(None));
            }
        }
    }
}

/// Takes one complete request off the front. A frame that is too long is refused by its
/// header alone; the inbox grows only by what has really come.
fn take_request(inbox: &mut Vec<u8>) -> Result<Option<Request>, FrameError> {
    let Some((header, rest)) = inbox.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let length = message_length(*header)?;
    let Some(message) = rest.get(..length) else {
        return Ok(None);
    };
    let request = Request::decode(message)?;
    inbox.drain(..HEADER + length);
    Ok(Some(request))
}

#[cfg(test)]
mod tests {
    use super::take_request;
    use stsd_wire::{Message as _, Request};

    #[test]
    fn requests_are_taken_one_by_one_as_they_come() {
        let mut bytes = Request::Hello { version: 1 }.frame().unwrap().to_vec();
        bytes.extend_from_slice(&Request::Reload.frame().unwrap());
        let mut inbox = Vec::new();
        let mut taken = Vec::new();
        for byte in bytes {
            inbox.push(byte);
            taken.extend(take_request(&mut inbox).unwrap());
        }
        assert_eq!(taken, [Request::Hello { version: 1 }, Request::Reload]);
        assert!(inbox.is_empty());
    }
}
