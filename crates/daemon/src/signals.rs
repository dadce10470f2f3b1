//! Decides what signals mean: SIGTERM and SIGINT stop, SIGHUP reads the configuration again.

use std::{io, sync::Arc};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

/// Watches signals from now on.
pub(crate) fn watch() -> io::Result<(CancellationToken, Arc<Notify>)> {
    let stop = CancellationToken::new();
    let hangup = Arc::new(Notify::new());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangups = signal(SignalKind::hangup())?;
    let (stopping, ringing) = (stop.clone(), Arc::clone(&hangup));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => stopping.cancel(),
                _ = interrupt.recv() => stopping.cancel(),
                _ = hangups.recv() => ringing.notify_one(),
            }
        }
    });
    Ok((stop, hangup))
}
