//! The Unix socket: frames in, frames out. The only user of the wire types.

mod client;
mod connection;
mod failures;
mod handlers;
mod reactor;
mod self_check;
mod wire_convert;

pub(super) use self::wire_convert::{conditions, http_listener, status};
pub use self::{reactor::ReactorHandle, self_check::self_check};
pub(crate) use self::{
    reactor::{ReactorThread, start_event_loop},
    wire_convert::encode_reply,
};
