//! Defers SIGINT, SIGTERM and SIGHUP while files are written or the terminal does not echo.

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

/// The handlers of the terminating signals.
pub(super) struct SignalMask(Vec<Signal>);

struct Signal {
    number: i32,
    /// The signal has its default action.
    default_action: Arc<AtomicBool>,
    raised: Arc<AtomicBool>,
}

/// Defers the signals until it is dropped.
pub(super) struct DeferGuard<'a>(&'a SignalMask);

impl SignalMask {
    pub(super) fn install() -> io::Result<Self> {
        let install = |number| {
            let signal = Signal {
                number,
                default_action: Arc::new(AtomicBool::new(true)),
                raised: Arc::default(),
            };
            flag::register_conditional_default(number, Arc::clone(&signal.default_action))?;
            flag::register(number, Arc::clone(&signal.raised))?;
            Ok(signal)
        };
        let all = [SIGINT, SIGTERM, SIGHUP].into_iter().map(install);
        Ok(Self(all.collect::<io::Result<_>>()?))
    }

    /// Starts to defer the signals.
    pub(super) fn defer(&self) -> DeferGuard<'_> {
        for signal in &self.0 {
            signal.default_action.store(false, Ordering::SeqCst);
        }
        DeferGuard(self)
    }
}

impl DeferGuard<'_> {
    /// Returns `true` if a signal was received.
    pub(super) fn is_pending(&self) -> bool {
        self.0.0.iter().any(|it| it.raised.load(Ordering::SeqCst))
    }
}

impl Drop for DeferGuard<'_> {
    fn drop(&mut self) {
        for signal in &self.0.0 {
            signal.default_action.store(true, Ordering::SeqCst);
        }
        for signal in &self.0.0 {
            if signal.raised.load(Ordering::SeqCst) {
                let _ = emulate_default_handler(signal.number);
            }
        }
    }
}
