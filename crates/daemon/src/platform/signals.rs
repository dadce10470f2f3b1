//! The signals: SIGTERM and SIGINT stop the daemon, SIGHUP reloads the configuration, SIGUSR2 executes
//! the program that is at the daemon's path now.

use std::{io, sync::Arc, time::Duration};

use nix::sys::signal::{SigSet, Signal, raise};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
    task::JoinHandle,
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

/// The requests of signals, and a stop signal that arrives during an upgrade.
pub struct SignalWatcher {
    /// The requests of signals.
    pub signals: ControlSignals,
    end: CancellationToken,
    task: JoinHandle<()>,
}

/// Installs the signal handlers. Signals that arrived during the upgrade to this program are pending,
/// and are handled now.
///
/// # Errors
/// A handler cannot be installed.
pub fn watch() -> io::Result<SignalWatcher> {
    let (signals, end) = (ControlSignals::default(), CancellationToken::new());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangups = signal(SignalKind::hangup())?;
    let mut replacements = signal(SignalKind::user_defined2())?;
    handled_signals().thread_unblock()?;
    let (control, ended) = (signals.clone(), end.clone());
    let task = tokio::spawn(async move {
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
    Ok(SignalWatcher { signals, end, task })
}

impl SignalWatcher {
    /// Completes if the task that receives the signals ends, after which no signal would stop the
    /// daemon.
    pub async fn ended(&mut self) -> io::Error {
        let ended = (&mut self.task).await;
        let panicked = ended
            .err()
            .map_or_else(String::new, |bug| format!(": {bug}"));
        io::Error::other(format!("no signal is received any more{panicked}"))
    }

    /// Blocks the signals, so that they stay pending for the next program: execve(2) removes the
    /// handlers, and the default action would end the process. The signal mask survives execve(2).
    ///
    /// # Errors
    /// The signals cannot be blocked.
    pub async fn block_for_exec(&self) -> io::Result<()> {
        handled_signals().thread_block()?;
        // The task may not have received a signal that was caught before.
        sleep(Duration::from_millis(10)).await;
        if self.end.is_cancelled() {
            raise(Signal::SIGTERM)?;
        }
        Ok(())
    }
}

/// Blocks the handled signals until [`watch`].
///
/// # Errors
/// The signals cannot be blocked.
pub fn block() -> io::Result<()> {
    Ok(handled_signals().thread_block()?)
}

fn handled_signals() -> SigSet {
    use Signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
    [SIGTERM, SIGINT, SIGHUP, SIGUSR2].into_iter().collect()
}
