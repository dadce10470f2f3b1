//! Decides what becomes of a signal that would end us at a bad moment: it does so later.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
    low_level::emulate_default_handler,
};

/// The signals that end us.
pub(super) struct Signals(Vec<Signal>);

struct Signal {
    number: i32,
    /// It does what it always does.
    free: Arc<AtomicBool>,
    came: Arc<AtomicBool>,
}

/// They wait for as long as this lives.
pub(super) struct Held<'a>(&'a Signals);

impl Signals {
    pub(super) fn take() -> io::Result<Self> {
        let take = |number| {
            let signal = Signal {
                number,
                free: Arc::new(AtomicBool::new(true)),
                came: Arc::default(),
            };
            flag::register_conditional_default(number, Arc::clone(&signal.free))?;
            flag::register(number, Arc::clone(&signal.came))?;
            Ok(signal)
        };
        let all = [SIGINT, SIGTERM, SIGHUP].into_iter().map(take);
        Ok(Self(all.collect::<io::Result<_>>()?))
    }

    /// Has them wait.
    pub(super) fn hold(&self) -> Held<'_> {
        for signal in &self.0 {
            signal.free.store(false, Ordering::SeqCst);
        }
        Held(self)
    }
}

impl Held<'_> {
    /// Tells whether one has come.
    pub(super) fn came(&self) -> bool {
        self.0.0.iter().any(|it| it.came.load(Ordering::SeqCst))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        for signal in &self.0.0 {
            signal.free.store(true, Ordering::SeqCst);
        }
        for signal in &self.0.0 {
            if signal.came.load(Ordering::SeqCst) {
                let _ = emulate_default_handler(signal.number);
            }
        }
    }
}
