//! The rules for the daemon's socket: the places where a client looks for the socket, the servers that
//! the client accepts there, and the time for which a daemon that is away is waited for. The blocking
//! client, the client for tokio, sts-shim and stsctl have no other copy of these rules.

mod location;
mod retry;
mod server;

pub(crate) use location::Location;
pub use location::SYSTEM_SOCKET;
#[cfg(feature = "tokio")]
pub(crate) use retry::{FIRST_PAUSE, LONGEST_PAUSE};
pub(crate) use retry::{Retry, Wait};
pub(crate) use server::check_server;
