//! Access: the peer of a connection, and the policy of each socket.

mod operation;
pub mod peer;
mod policy;

pub use self::{operation::Operation, policy::Access};
