//! Clocks, child processes, file watches and locks. Every other folder may use this one; this
//! folder uses no other.

pub(crate) mod async_fd;
pub mod atomic_file;
pub mod backoff;
pub mod change_watch;
pub mod child_process;
pub mod children;
pub mod clock;
pub mod conditions;
pub(crate) mod file_watch;
pub(crate) mod foreign_text;
pub(crate) mod landlock;
pub mod listener;
pub(crate) mod nonblocking_write;
pub(crate) mod panic;
pub mod path_state;
mod pipe_output;
pub mod program;
pub mod protection_report;
pub(crate) mod rate;
mod stderr_line;
pub(crate) mod sync;
pub mod temp_dir;
pub(crate) mod trust;
