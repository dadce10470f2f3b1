//! The encoding and decoding of frames. It is the only file that uses bincode.

use bincode::Options as _;
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::{Reply, Request};

/// Bytes before a message: its length as a big-endian `u32`.
pub const HEADER: usize = 4;

/// The largest message either side accepts, in bytes.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// A frame that cannot be decoded.
#[derive(Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The announced length, in bytes, is zero or above [`MAX_MESSAGE`].
    Length(usize),
    /// The bytes are not one complete message of the expected kind.
    Malformed,
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length(length) => {
                write!(f, "frame of {length} bytes, allowed are 1 to {MAX_MESSAGE}")
            }
            Self::Malformed => f.write_str("frame is not a message of this protocol"),
        }
    }
}

impl std::error::Error for FrameError {}

/// A message of this protocol: [`Request`] or [`Reply`], and nothing else.
pub trait Message: Serialize + DeserializeOwned + sealed::Sealed {
    /// Encodes the message with its header, ready to be written in one call.
    ///
    /// The buffer is wiped on drop and is never reallocated while it is filled, because
    /// a reply holds secrets and a grown buffer would leave a copy of them behind.
    ///
    /// # Errors
    /// [`FrameError::Length`] when the message would not be accepted by the other side.
    fn frame(&self) -> Result<Zeroizing<Vec<u8>>, FrameError> {
        frames(&[self])
    }

    /// Encodes another message and then this one, ready to be written in one call.
    ///
    /// # Errors
    /// As [`Self::frame`].
    fn frame_after(&self, first: &Self) -> Result<Zeroizing<Vec<u8>>, FrameError> {
        frames(&[first, self])
    }

    /// Decodes one complete message, without its header.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] when the bytes are anything but exactly one message;
    /// leftovers are refused. What the bytes were is not told, because they may be secret.
    fn decode(message: &[u8]) -> Result<Self, FrameError> {
        options()
            .deserialize(message)
            .map_err(|_| FrameError::Malformed)
    }
}

impl<'a> Request<&'a str> {
    /// Decodes one complete message, without its header, and copies nothing of it.
    ///
    /// # Errors
    /// As [`Message::decode`].
    pub fn decode_in_place(message: &'a [u8]) -> Result<Self, FrameError> {
        options()
            .deserialize(message)
            .map_err(|_| FrameError::Malformed)
    }
}

impl Message for Request {}
impl Message for Reply {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Request {}
    impl Sealed for crate::Reply {}
}

fn frames(messages: &[&impl Serialize]) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    let mut room = 0;
    for message in messages {
        let length = options().serialized_size(message).ok();
        let length = length.and_then(|it| usize::try_from(it).ok());
        room += HEADER + length.ok_or(FrameError::Length(MAX_MESSAGE + 1))?;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    for message in messages {
        let header = bytes.len();
        bytes.extend_from_slice(&[0; HEADER]);
        options()
            .serialize_into(&mut *bytes, message)
            .map_err(|_| FrameError::Malformed)?;
        let length = bytes.len() - header - HEADER;
        let length = u32::try_from(length).map_err(|_| FrameError::Length(length))?;
        bytes[header..header + HEADER].copy_from_slice(&length.to_be_bytes());
    }
    Ok(bytes)
}

/// Reads the length of the message that follows a header.
///
/// # Errors
/// [`FrameError::Length`] when no such message can be meant.
pub fn message_length(header: [u8; HEADER]) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(header) as usize;
    match length {
        1..=MAX_MESSAGE => Ok(length),
        _ => Err(FrameError::Length(length)),
    }
}

/// Variable-length integers, trailing bytes refused, and never more than one frame's
/// worth of data, whatever the message claims to hold.
fn options() -> impl bincode::Options {
    bincode::DefaultOptions::new().with_limit(MAX_MESSAGE as u64)
}
