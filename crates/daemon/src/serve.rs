//! Serve: the sockets, and the answers from memory.

mod accept;
pub mod connection_limit;
pub mod context;
pub mod http;
pub mod socket;
