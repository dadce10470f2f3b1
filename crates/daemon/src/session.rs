//! The role sessions of all profiles, in memory.

mod chained_sessions;
pub mod counters;
pub mod last_access;
pub mod lease;
pub mod lifetime;
pub mod memfd;
pub mod profile_entry;
pub mod session_file;
pub mod snapshot;
pub mod store;
