//! Access: the peer of a connection, and the policy of each socket.

mod operation;
pub mod peer;
mod policy;
mod refusal;

pub use self::{operation::Operation, policy::Access, refusal::Refusal};
