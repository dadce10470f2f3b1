//! The encoding and decoding of frames. It is the only file that uses bincode.

use bincode::Options as _;
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::{Reply, Request};

/// Bytes before a message: its length as a big-endian `u32`.
pub const HEADER: usize = 4;

/// The largest reply, in bytes.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// The largest request except [`Request::Lease`], in bytes. A request holds numbers and at most one
/// name of a profile, which has 64 characters.
pub const MAX_REQUEST: usize = 512;

/// The largest [`Request::Lease`], in bytes. The request holds a session policy, which has 2,048
/// characters.
pub const MAX_LEASE_REQUEST: usize = 8 * 1024;

/// The first byte of a [`Request::Lease`]: the number of its variant.
const LEASE_VARIANT: u8 = 6;

/// A frame that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The announced length is zero, or above the largest message of its kind.
    Length {
        /// The announced length, in bytes.
        length: usize,
        /// The largest message of that kind, in bytes.
        max: usize,
    },
    /// The bytes are not one complete message of the expected kind.
    Malformed,
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length { length, max } => {
                write!(f, "frame of {length} bytes, allowed are 1 to {max}")
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
    /// [`FrameError::Length`] when the message is longer than its kind permits.
    fn decode(message: &[u8]) -> Result<Self, FrameError> {
        let decoded: Self = options()
            .deserialize(message)
            .map_err(|_| FrameError::Malformed)?;
        check_length(message.len(), decoded.max_bytes())?;
        Ok(decoded)
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
    use crate::{MAX_LEASE_REQUEST, MAX_MESSAGE, MAX_REQUEST, Reply, Request};

    pub trait Sealed {
        /// Returns the length of the largest message of this kind, in bytes.
        fn max_bytes(&self) -> usize;
    }

    impl Sealed for Request {
        fn max_bytes(&self) -> usize {
            match self {
                Self::Lease { .. } => MAX_LEASE_REQUEST,
                _ => MAX_REQUEST,
            }
        }
    }

    impl Sealed for Reply {
        fn max_bytes(&self) -> usize {
            MAX_MESSAGE
        }
    }
}

fn frames(messages: &[&impl Message]) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    let mut room = 0;
    for message in messages {
        let max = message.max_bytes();
        let length = options().serialized_size(message).ok();
        let length = length.and_then(|it| usize::try_from(it).ok());
        let length = length.unwrap_or(MAX_MESSAGE + 1);
        check_length(length, max)?;
        room += HEADER + length;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    for message in messages {
        let header = bytes.len();
        bytes.extend_from_slice(&[0; HEADER]);
        options()
            .serialize_into(&mut *bytes, message)
            .map_err(|_| FrameError::Malformed)?;
        let length = bytes.len() - header - HEADER;
        // Below `MAX_MESSAGE`, as checked above.
        let length = u32::try_from(length).map_err(|_| FrameError::Malformed)?;
        bytes[header..header + HEADER].copy_from_slice(&length.to_be_bytes());
    }
    Ok(bytes)
}

/// Returns the length of the reply that follows a header.
///
/// # Errors
/// [`FrameError::Length`] when no such reply can be meant.
pub fn message_length(header: [u8; HEADER]) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(header) as usize;
    check_length(length, MAX_MESSAGE)?;
    Ok(length)
}

/// Returns the length of the request that follows a header; `None` if the length depends on the
/// first byte of the request, and that byte has not arrived.
///
/// # Errors
/// [`FrameError::Length`] when no such request can be meant.
pub fn request_length(
    header: [u8; HEADER],
    first_byte: Option<u8>,
) -> Result<Option<usize>, FrameError> {
    let length = u32::from_be_bytes(header) as usize;
    match (length, first_byte) {
        (1..=MAX_REQUEST, _) => Ok(Some(length)),
        (1..=MAX_LEASE_REQUEST, None) => Ok(None),
        (_, None | Some(LEASE_VARIANT)) => {
            check_length(length, MAX_LEASE_REQUEST)?;
            Ok(Some(length))
        }
        (_, Some(_)) => Err(FrameError::Length {
            length,
            max: MAX_REQUEST,
        }),
    }
}

fn check_length(length: usize, max: usize) -> Result<(), FrameError> {
    match length {
        0 => Err(FrameError::Length { length, max }),
        _ if length > max => Err(FrameError::Length { length, max }),
        _ => Ok(()),
    }
}

/// Variable-length integers, trailing bytes refused, and never more than one frame's
/// worth of data, whatever the message claims to hold.
fn options() -> impl bincode::Options {
    bincode::DefaultOptions::new().with_limit(MAX_MESSAGE as u64)
}
