//! Signals that end the run early: the object and the files are deleted all the same.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Set by SIGINT, SIGTERM and SIGHUP.
pub(crate) struct Interruption(Arc<AtomicBool>);

impl Interruption {
    /// Installs the handlers. Without a handler, which the system does not refuse for these signals, a
    /// signal ends the program at once.
    pub(crate) fn watch() -> Self {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            let _ = signal_hook::flag::register(signal, Arc::clone(&flag));
        }
        Self(flag)
    }

    pub(crate) fn has_come(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
