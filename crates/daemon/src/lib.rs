//! The daemon of stsd: it resolves identities, renews role sessions in the background and serves them.
//!
//! Two flows, which meet only in [`session`]: **refresh** (rare, slow, may fail) obtains
//! sessions and publishes them; **serve** (frequent, fast, never calls the cloud) answers
//! peers from memory. [`run`] is the whole program except for the code that reads arguments,
//! the environment and signals.

pub mod access;
pub mod audit;
pub mod cli;
pub mod config;
mod daemon;
pub mod export;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod identity;
pub mod platform;
pub mod profile;
pub mod refresh;
pub mod runtime;
pub mod serve;
pub mod session;
pub mod sts;

pub use daemon::{Dependencies, ExitReason, PersistSessions, RunError, check_runtime_files, run};
pub use platform::signals::ControlSignals;
