//! Decides what the process gives up, or takes, at start.

use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    stat::{Mode, umask},
};
use tracing::warn;

/// Makes every file of ours private from its first moment, keeps secrets out of core
/// dumps, and takes all the file descriptors the system allows, because ten thousand idle
/// peers must not keep the next one out.
pub fn at_start() {
    umask(Mode::from_bits_truncate(0o077));
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        warn!("core dumps cannot be switched off ({error}); set LimitCORE=0 for this service");
    }
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!("the limit of open files stays low ({error}); set LimitNOFILE for this service");
    }
}
