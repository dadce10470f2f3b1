//! The limit of open files of a story.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises this test's limit of open files to the hard limit; returns the limit.
///
/// # Panics
/// When the system refuses.
pub fn raise_file_limit() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    hard
}
