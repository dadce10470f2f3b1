//! Decides what signals mean: SIGTERM and SIGINT stop, SIGHUP reads the configuration
//! again, SIGUSR2 gives our place to the program that stands at our path now.

use std::io;

use stsd::Wishes;
use tokio::signal::unix::{SignalKind, signal};

/// Watches signals from now on.
pub(crate) fn watch() -> io::Result<Wishes> {
    let wishes = Wishes::default();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangups = signal(SignalKind::hangup())?;
    let mut replacements = signal(SignalKind::user_defined2())?;
    let told = wishes.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => told.stop.cancel(),
                _ = interrupt.recv() => told.stop.cancel(),
                _ = hangups.recv() => told.reload.notify_one(),
                _ = replacements.recv() => told.replace.notify_one(),
            }
        }
    });
    Ok(wishes)
}
