//! Connections that speak the wire protocol by hand, for requests that the client library would
//! not send.

use std::{iter, os::unix::net::UnixStream, time::Duration};

use stsd_wire::{HEADER, Message as _, Reply, Request, message_length};

use crate::TestEnv;

/// The longest time that a read from the daemon may take.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Connects to the daemon's socket.
///
/// # Panics
/// When the connection is refused.
#[must_use]
pub fn connect(env: &TestEnv) -> UnixStream {
    let stream = UnixStream::connect(env.socket()).unwrap();
    stream.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
    stream
}

/// Returns the frame of a Hello.
///
/// # Panics
/// Never: the frame is small.
#[must_use]
pub fn hello_request() -> Vec<u8> {
    Request::Hello { version: 1 }.frame().unwrap().to_vec()
}

/// Returns the frame of a request for credentials of `oss-upload`, with the caller's patience.
///
/// # Panics
/// Never: the frame is small.
#[must_use]
pub fn credentials_request(patience_millis: u64) -> Vec<u8> {
    let request = Request::Credentials {
        profile: "oss-upload".into(),
        minimum_life_millis: 0,
        patience_millis,
    };
    request.frame().unwrap().to_vec()
}

/// Returns the replies of a connection that has ended.
///
/// # Panics
/// When the bytes end in the middle of a reply.
#[must_use]
pub fn decode_replies(bytes: &[u8]) -> Vec<Reply> {
    let mut rest = bytes;
    let mut replies = Vec::new();
    while let Some((reply, tail)) = split_reply(rest) {
        replies.push(reply);
        rest = tail;
    }
    assert!(rest.is_empty(), "half a reply: {rest:?}");
    replies
}

/// Returns the complete replies at the beginning of `bytes`, of a connection that is still open.
#[must_use]
pub fn complete_replies(bytes: &[u8]) -> Vec<Reply> {
    iter::successors(split_reply(bytes), |(_, tail)| split_reply(tail))
        .map(|(reply, _)| reply)
        .collect()
}

fn split_reply(bytes: &[u8]) -> Option<(Reply, &[u8])> {
    let (header, body) = bytes.split_first_chunk::<HEADER>()?;
    let (message, tail) = body.split_at_checked(message_length(*header).unwrap())?;
    Some((Reply::decode(message).unwrap(), tail))
}
