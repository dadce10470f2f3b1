//! The reasons for which the program stops: a signal, or the end of its standard input.

use std::io;

use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// SIGTERM, SIGINT and, on request, the end of standard input. The signal handlers are installed
/// when the value is created, so that no signal before [`Shutdown::wait`] is lost.
#[derive(Debug)]
pub struct Shutdown {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    with_stdin: bool,
}

impl Shutdown {
    /// Installs the signal handlers.
    ///
    /// # Errors
    ///
    /// The system has no resources for a runtime, or refuses a handler.
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

    /// Blocks until the program must stop.
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

/// Completes at the end of standard input. A thread reads it, because standard input may be a
/// file, which epoll does not support.
async fn end_of_stdin() {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}
