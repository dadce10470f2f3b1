//! The orphans of a daemon that is the process with the number 1, as in a container without an init,
//! or a child subreaper: the kernel makes the daemon their parent, and each stays a zombie until it
//! is reaped.

use std::{io, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use crate::runtime::{
    children,
    children::{Reaped, reap_orphans},
};

/// Pause while a zombie may hide others: twice the interval at which the exit of a program is polled.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Starts a task that reaps orphans, if the kernel gives orphans to this process.
///
/// # Errors
/// The signal handler cannot be installed.
pub fn reap() -> io::Result<()> {
    if !children::receives_orphans() {
        return Ok(());
    }
    let mut ended = signal(SignalKind::child())?;
    tokio::spawn(async move {
        loop {
            while reap_orphans() == Reaped::Some {
                sleep(RETRY_INTERVAL).await;
            }
            ended.recv().await;
        }
    });
    Ok(())
}
