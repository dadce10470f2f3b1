//! Clocks, child processes, file watches and locks. Every other folder may use this one; this
//! folder uses no other.

pub(crate) mod async_fd;
pub mod atomic_file;
pub mod backoff;
pub mod child_process;
pub mod clock;
pub(crate) mod file_watch;
pub mod listener;
pub(crate) mod panic;
pub mod protection_report;
pub(crate) mod sync;
