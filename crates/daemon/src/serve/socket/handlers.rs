//! The requests of the socket, one file for each kind.

pub(super) mod control;
pub(super) mod credentials;
pub(super) mod lease;
