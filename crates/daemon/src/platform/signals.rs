//! Decides what signals mean: SIGTERM and SIGINT stop, SIGHUP reads the configuration
//! again, SIGUSR2 gives our place to the program that stands at our path now.

use std::{io, sync::Arc, time::Duration};

use nix::sys::signal::{SigSet, Signal, raise};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// The requests of signals to a running daemon.
#[derive(Debug, Clone, Default)]
pub struct ControlSignals {
    /// Stop.
    pub stop: CancellationToken,
    /// Reload the configuration.
    pub reload: Arc<Notify>,
    /// Replace the program (an upgrade).
    pub replace: Arc<Notify>,
}

/// What is watched, and whether somebody wants an end: also whoever says so while a new
/// program is already about to take our place.
pub struct SignalWatcher {
    /// What the signals ask for.
    pub signals: ControlSignals,
    end: CancellationToken,
}

/// Watches signals from now on. Those that came while the program before us became this one
/// are heard now.
///
/// # Errors
/// When a handler cannot be installed.
pub fn watch() -> io::Result<SignalWatcher> {
    let (signals, end) = (ControlSignals::default(), CancellationToken::new());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangups = signal(SignalKind::hangup())?;
    let mut replacements = signal(SignalKind::user_defined2())?;
    handled_signals().thread_unblock()?;
    let (control, ended) = (signals.clone(), end.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => ended.cancel(),
                _ = interrupt.recv() => ended.cancel(),
                _ = hangups.recv() => control.reload.notify_one(),
                _ = replacements.recv() => control.replace.notify_one(),
            }
            if ended.is_cancelled() {
                control.stop.cancel();
            }
        }
    });
    Ok(SignalWatcher { signals, end })
}

impl SignalWatcher {
    /// Has signals wait for the program that we become: with a new image they are without
    /// handlers, and what they would do then is kill. What is blocked stays blocked.
    ///
    /// # Errors
    /// When the signals cannot be blocked.
    pub async fn block_for_exec(&self) -> io::Result<()> {
        handled_signals().thread_block()?;
        // What was caught before is still on its way to the task that watches.
        sleep(Duration::from_millis(10)).await;
        if self.end.is_cancelled() {
            raise(Signal::SIGTERM)?;
        }
        Ok(())
    }
}

fn handled_signals() -> SigSet {
    use Signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
    [SIGTERM, SIGINT, SIGHUP, SIGUSR2].into_iter().collect()
}
