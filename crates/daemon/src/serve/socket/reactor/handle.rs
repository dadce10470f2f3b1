//! The handle of the event loop for other threads: a queue of commands and an eventfd.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{Arc, Mutex, MutexGuard},
    task::{Wake, Waker},
};

use rustix::{
    event::{
        EventfdFlags,
        epoll::{self, CreateFlags, EventData, EventFlags},
        eventfd,
    },
    io::write,
};
use tokio::sync::mpsc;
use tracing::error;

use super::{accept::accept_connection, entry::ConnectionEntry};
use crate::{
    runtime::sync::lock,
    serve::{
        connection_limit::ConnectionLimiter, context::ServerContext, socket::handlers::Offload,
    },
};

/// Token of the eventfd in the epoll set.
pub(super) const WAKE_TOKEN: u64 = u64::MAX;

/// Interest in a connection and in the eventfd, edge-triggered: the event loop reads all input
/// before it waits again.
pub(super) const CONNECTION_INTEREST: EventFlags = EventFlags::IN
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

/// The handle of the event loop.
pub struct ReactorHandle {
    pub(super) epoll: OwnedFd,
    /// The eventfd that wakes `epoll_wait`.
    wake_fd: OwnedFd,
    commands: Mutex<CommandQueue>,
    /// Connections whose work needs a task.
    offloaded: mpsc::UnboundedSender<Offloaded>,
    /// Taken by [`run_offloaded`](Self::run_offloaded).
    receiver: Mutex<Option<mpsc::UnboundedReceiver<Offloaded>>>,
}

/// The commands that the event loop has not processed yet.
#[derive(Default)]
pub(super) struct CommandQueue {
    pub(super) commands: Vec<Command>,
    /// The event loop is in `epoll_wait`, or is about to be.
    pub(super) blocked: bool,
}

/// A command to the event loop.
pub(super) enum Command {
    /// Accept connections from a listener.
    AddListener(Listener),
    /// Remove all listeners.
    StopAccepting,
    /// Register a connection that was accepted elsewhere.
    Attach(Box<ConnectionEntry>),
    /// Return a connection from its task to its slot.
    Reattach(usize, Box<ConnectionEntry>),
    /// Free the slot of a connection whose task has ended it.
    Free(usize),
    /// Poll the connection of a slot: its waker has fired.
    Wake(usize),
    /// Close the connections that the limiter has evicted.
    CloseEvicted(Arc<ConnectionLimiter>),
    /// Return the memory of closed connections.
    Shrink,
    /// End the event loop.
    ShutDown,
}

/// A listening socket and the context of its connections.
pub(super) struct Listener {
    pub(super) socket: OwnedFd,
    pub(super) context: Arc<ServerContext>,
}

/// A connection whose work needs a task.
struct Offloaded {
    entry: Box<ConnectionEntry>,
    work: Offload,
    guard: SlotGuard,
}

/// The slot of an offloaded connection. It is freed when this is dropped, unless the connection
/// has returned to it.
struct SlotGuard {
    handle: Arc<ReactorHandle>,
    slot: Option<usize>,
}

/// The waker of a slot.
struct SlotWaker {
    handle: Arc<ReactorHandle>,
    slot: usize,
}

impl ReactorHandle {
    /// Creates the epoll set and the eventfd; the event loop is not started.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        let wake_fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let data = EventData::new_u64(WAKE_TOKEN);
        epoll::add(&epoll, &wake_fd, data, CONNECTION_INTEREST)?;
        let (offloaded, receiver) = mpsc::unbounded_channel();
        Ok(Self {
            epoll,
            wake_fd,
            commands: Mutex::default(),
            offloaded,
            receiver: Mutex::new(Some(receiver)),
        })
    }

    /// Accepts connections from a listener.
    pub(in crate::serve) fn add_listener(&self, socket: OwnedFd, context: Arc<ServerContext>) {
        self.submit(Command::AddListener(Listener { socket, context }));
    }

    /// Removes all listeners.
    pub(in crate::serve) fn stop_accepting(&self) {
        self.submit(Command::StopAccepting);
    }

    /// Closes the connections that the limiter has evicted.
    pub(in crate::serve) fn close_evicted(&self, limiter: Arc<ConnectionLimiter>) {
        self.submit(Command::CloseEvicted(limiter));
    }

    /// Returns the memory of closed connections.
    pub(in crate::serve) fn shrink(&self) {
        self.submit(Command::Shrink);
    }

    /// Runs each offloaded connection in a task of its own; never ends.
    pub(in crate::serve) async fn run_offloaded(self: Arc<Self>) {
        let Some(mut receiver) = lock(&self.receiver).take() else {
            return;
        };
        while let Some(offloaded) = receiver.recv().await {
            tokio::spawn(offloaded.run());
        }
    }

    /// Registers a connection that was accepted elsewhere.
    fn attach(&self, stream: UnixStream, context: &Arc<ServerContext>) {
        if let Some(entry) = accept_connection(stream, context) {
            self.submit(Command::Attach(Box::new(entry)));
        }
    }

    /// Ends the event loop.
    pub(super) fn shut_down(&self) {
        self.submit(Command::ShutDown);
    }

    /// Runs the work of a connection in a task, which returns the connection to its slot.
    pub(super) fn offload(
        self: &Arc<Self>,
        slot: usize,
        entry: Box<ConnectionEntry>,
        work: Offload,
    ) {
        let guard = SlotGuard {
            handle: Arc::clone(self),
            slot: Some(slot),
        };
        // Fails only after the receiver was dropped, at shutdown.
        let _ = self.offloaded.send(Offloaded { entry, work, guard });
    }

    /// Returns the waker of a slot.
    pub(super) fn waker(self: &Arc<Self>, slot: usize) -> Waker {
        let handle = Arc::clone(self);
        Waker::from(Arc::new(SlotWaker { handle, slot }))
    }

    pub(super) fn lock_commands(&self) -> MutexGuard<'_, CommandQueue> {
        lock(&self.commands)
    }

    /// Queues a command, and wakes the event loop if it is blocked.
    fn submit(&self, command: Command) {
        let mut queue = self.lock_commands();
        queue.commands.push(command);
        if std::mem::take(&mut queue.blocked)
            && let Err(error) = write(&self.wake_fd, &1_u64.to_ne_bytes())
        {
            error!("cannot wake the event loop: {error}");
        }
    }
}

impl Offloaded {
    async fn run(mut self) {
        let handle = Arc::clone(&self.guard.handle);
        let attach = |stream: UnixStream, context: &Arc<ServerContext>| {
            handle.attach(stream, context);
        };
        if self.entry.run(self.work, &attach).await {
            self.guard.reattach(self.entry);
        }
    }
}

impl SlotGuard {
    fn reattach(mut self, entry: Box<ConnectionEntry>) {
        entry.permit().mark_idle();
        if let Some(slot) = self.slot.take() {
            self.handle.submit(Command::Reattach(slot, entry));
        }
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.handle.submit(Command::Free(slot));
        }
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.handle.submit(Command::Wake(self.slot));
    }
}
