//! What all other folders may use and what uses none of them: clocks, child processes, file
//! watches and locks.

pub(crate) mod async_fd;
pub mod atomic_file;
pub mod backoff;
pub mod child_process;
pub mod clock;
pub(crate) mod file_watch;
pub mod listener;
pub(crate) mod panic;
pub mod protection;
pub(crate) mod sync;
