//! When the program is to stop: a signal, or the end of its standard input.

use std::io;

use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// Listens from its making on, so that no signal is lost before it is waited for.
#[derive(Debug)]
pub struct Stop {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    with_stdin: bool,
}

impl Stop {
    /// Begins to listen for signals.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn listen(with_stdin: bool) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let inside = runtime.enter();
        let (terminate, interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        drop(inside);
        Ok(Self {
            runtime,
            terminate,
            interrupt,
            with_stdin,
        })
    }

    /// Returns when it is time.
    pub fn wait(mut self) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
                () = end_of_stdin(), if self.with_stdin => {}
            }
        });
    }
}

/// Reads on a thread of its own: standard input has no events to wait for.
async fn end_of_stdin() {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}
