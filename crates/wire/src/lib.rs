//! The wire format between stsd and its clients: the messages ([`Request`], [`Reply`]) and their
//! frames.
//!
//! One frame is a length and one message:
//!
//! ```text
//! +----------------------+---------------------------------+
//! | length: u32, big-end | message: bincode, `length` bytes |
//! +----------------------+---------------------------------+
//! ```
//!
//! A reply has at most [`MAX_MESSAGE`] bytes, a request [`MAX_REQUEST`], and a
//! [`Request::Lease`] [`MAX_LEASE_REQUEST`]. Another length is refused before the message is
//! buffered, so that a peer never determines the size of an allocation. `docs/protocol.md` describes
//! the messages byte by byte for other languages.

#[cfg_attr(not(feature = "control"), path = "unread.rs")]
mod control;
mod frame;
mod message;

pub use control::{Audit, Conditions, HttpListener, Metrics, Status, Url};
#[cfg(feature = "control")]
pub use control::{
    Condition, FailureCount, LastCaller, LastFailure, ListenerState, Problem, ProfileStatus,
    Protection,
};
pub use frame::{
    FrameError, HEADER, MAX_LEASE_REQUEST, MAX_MESSAGE, MAX_REQUEST, Message, message_length,
    request_length,
};
pub use message::{Credentials, Failure, FailureKind, Reply, Request, VERSION};
pub use stsd_secret::SecretText;
