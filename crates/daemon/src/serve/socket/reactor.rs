//! The event loop of the socket: a thread that accepts connections and answers requests, with one
//! epoll set. A request that memory cannot answer runs in a task of the runtime, so that it delays
//! no other connection.
//!
//! Between its requests a connection is one small entry of a slab, without a task and without a
//! timer.

mod accept;
mod entry;
mod event_loop;
mod handle;

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};

use tokio::{runtime::Handle, sync::oneshot};
use tracing::error;

use self::event_loop::EventLoop;
pub use self::handle::ReactorHandle;
use crate::runtime::clock::Clock;

/// Stack of the thread: enough to read `/proc/PID` and to format one log line.
const STACK_BYTES: usize = 512 * 1024;

/// The thread of the event loop, which is shut down and joined when this is dropped.
pub(crate) struct ReactorThread {
    handle: Arc<ReactorHandle>,
    thread: Option<JoinHandle<()>>,
    /// The sender is dropped without an error after a shutdown, and by a panic.
    failed: oneshot::Receiver<io::Error>,
}

/// Starts the event loop. Called within the runtime whose timers bound pending requests.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn start_event_loop(
    handle: &Arc<ReactorHandle>,
    clock: Arc<dyn Clock>,
) -> io::Result<ReactorThread> {
    let event_loop = EventLoop::new(Arc::clone(handle), clock);
    let runtime = Handle::current();
    let (sender, failed) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("stsd-reactor".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let _within = runtime.enter();
            if let Err(error) = event_loop.run() {
                let _ = sender.send(error.into());
            }
        })?;
    Ok(ReactorThread {
        handle: Arc::clone(handle),
        thread: Some(thread),
        failed,
    })
}

impl ReactorThread {
    /// Completes when the event loop ends without a shutdown: no request is answered any more.
    pub(crate) async fn failed(&mut self) -> io::Error {
        let failed = (&mut self.failed).await;
        failed.unwrap_or_else(|_| io::Error::other("a bug ended its thread"))
    }
}

impl Drop for ReactorThread {
    fn drop(&mut self) {
        self.handle.shut_down();
        if self.thread.take().is_some_and(|it| it.join().is_err()) {
            error!("a bug ended the event loop");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, sync::Arc};

    use super::{ReactorHandle, start_event_loop};
    use crate::runtime::clock::SystemClock;

    #[tokio::test]
    async fn fatal_epoll_error_is_reported() {
        let mut handle = ReactorHandle::new().unwrap();
        // epoll_wait(2) fails with EINVAL on a descriptor that is no epoll set.
        handle.epoll = File::open("/dev/null").unwrap().into();
        let clock = Arc::new(SystemClock::default());
        let mut event_loop = start_event_loop(&Arc::new(handle), clock).unwrap();
        let error = event_loop.failed().await;
        assert_eq!(error.raw_os_error(), Some(nix::libc::EINVAL), "{error}");
    }
}
