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

use tokio::runtime::Handle;
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
    let thread = thread::Builder::new()
        .name("stsd-reactor".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let _within = runtime.enter();
            event_loop.run();
        })?;
    Ok(ReactorThread {
        handle: Arc::clone(handle),
        thread: Some(thread),
    })
}

impl Drop for ReactorThread {
    fn drop(&mut self) {
        self.handle.shut_down();
        if self.thread.take().is_some_and(|it| it.join().is_err()) {
            error!("a bug ended the event loop");
        }
    }
}
