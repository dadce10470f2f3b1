//! The event loop. Connections are registered edge-triggered; listeners level-triggered, because an
//! `accept` that returns EAGAIN costs nearly as much as a successful one.

use std::{
    mem::{self, MaybeUninit},
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::{
    event::{
        Timespec,
        epoll::{self, Event, EventData, EventFlags},
    },
    io::Errno,
    net::{SocketFlags, accept_with},
};
use slab::Slab;
use tracing::{debug, error, info, warn};

use super::{
    accept::accept_connection,
    entry::{ConnectionEntry, PollOutcome},
    handle::{CONNECTION_INTEREST, Command, Listener, ReactorHandle, WAKE_TOKEN},
};
use crate::{
    runtime::clock::{BootTime, Clock},
    serve::{
        accept::ACCEPT_BACKOFF, connection_limit::ConnectionLimiter, socket::connection::ReadState,
    },
};

/// Maximum number of events, and of queued connections, in one iteration.
const MAX_BATCH: usize = 128;

/// Minimum interval between scans for timed-out connections.
const TIMEOUT_SCAN_INTERVAL: Duration = Duration::from_secs(1);

/// The flags of a connection that the peer has closed.
const CLOSED_FLAGS: EventFlags = EventFlags::HUP.union(EventFlags::ERR);

/// First token of a listener; smaller tokens are slots.
const LISTENER_TOKEN_BASE: u64 = 1 << 32;

/// The state of the event loop.
pub(super) struct EventLoop {
    handle: Arc<ReactorHandle>,
    clock: Arc<dyn Clock>,
    listeners: Vec<Arc<Listener>>,
    /// The end of the pause after `accept` failed with EMFILE, ENFILE or ENOMEM; `None` without a
    /// pause.
    accept_paused_until: Option<BootTime>,
    /// The pause has been logged and no connection has been accepted since.
    accept_pause_logged: bool,
    slots: Slab<Slot>,
    /// Slots to poll in the next iteration: they may have unread input.
    ready_queue: Vec<usize>,
    next_timeout_scan: Option<BootTime>,
}

/// A slot; its index is the token of the connection in the epoll set.
enum Slot {
    Attached(Box<ConnectionEntry>),
    /// A task owns the connection; holds the readiness that was reported meanwhile.
    Offloaded(Option<ReadState>),
}

/// The timeout of `epoll_wait`.
#[derive(PartialEq, Eq)]
enum Timeout {
    /// Return at once.
    Poll,
    After(Timespec),
    Never,
}

impl EventLoop {
    pub(super) fn new(handle: Arc<ReactorHandle>, clock: Arc<dyn Clock>) -> Self {
        Self {
            handle,
            clock,
            listeners: Vec::new(),
            accept_paused_until: None,
            accept_pause_logged: false,
            slots: Slab::new(),
            ready_queue: Vec::new(),
            next_timeout_scan: None,
        }
    }

    /// Runs the loop until it is shut down; a panic restarts it.
    ///
    /// # Errors
    /// epoll_wait(2) has failed, so that no event can be received any more.
    pub(super) fn run(mut self) -> Result<(), Errno> {
        loop {
            if let Ok(ended) = catch_unwind(AssertUnwindSafe(|| self.run_until_shutdown())) {
                return ended;
            }
            error!("event loop panicked; restarting it");
            thread::sleep(ACCEPT_BACKOFF);
            self.reschedule_all();
        }
    }

    fn run_until_shutdown(&mut self) -> Result<(), Errno> {
        let handle = Arc::clone(&self.handle);
        let mut space = [MaybeUninit::<Event>::uninit(); MAX_BATCH];
        while let ControlFlow::Continue(timeout) = self.process_commands() {
            let events = match epoll::wait(&handle.epoll, &mut space, timeout.as_timespec()) {
                Ok((events, _)) => &*events,
                Err(Errno::INTR) => &[],
                Err(error) => return Err(error),
            };
            // For fairness, a connection with pipelined requests is polled once per iteration.
            let later = self
                .ready_queue
                .split_off(self.ready_queue.len().min(MAX_BATCH));
            let ready = mem::replace(&mut self.ready_queue, later);
            let mut polled = ready.len();
            for event in events {
                // Copies, because the fields of the packed struct are unaligned.
                let (flags, token) = (event.flags, event.data.u64());
                if token < LISTENER_TOKEN_BASE {
                    self.on_readiness(token as usize, read_state(flags));
                    polled += 1;
                }
            }
            for slot in ready {
                self.poll_queued(slot);
            }
            // At most as many connections are accepted as were polled, so that closed ones are
            // freed first. Usually one client waits, and a second `accept` would return EAGAIN.
            for event in events {
                match event.data.u64() {
                    WAKE_TOKEN | ..LISTENER_TOKEN_BASE => {}
                    token => {
                        self.accept_batch((token - LISTENER_TOKEN_BASE) as usize, polled.max(1));
                    }
                }
            }
            if self.accept_paused_until.is_some() {
                self.resume_accept();
            }
            if self.next_timeout_scan.is_some() {
                self.close_timed_out();
            }
        }
        Ok(())
    }

    /// Queues every connection, because readiness was lost in the panic.
    fn reschedule_all(&mut self) {
        self.ready_queue.clear();
        for (index, slot) in &mut self.slots {
            if let Slot::Attached(entry) = slot {
                entry.handler.note_readable(ReadState::Open);
                entry.queued = true;
                self.ready_queue.push(index);
            }
        }
    }

    /// Runs queued commands until there are none. Returns the timeout of `epoll_wait`, or `Break`
    /// on shutdown.
    fn process_commands(&mut self) -> ControlFlow<(), Timeout> {
        loop {
            let commands = {
                let mut queue = self.handle.lock_commands();
                if queue.commands.is_empty() {
                    let timeout = self.timeout();
                    queue.blocked = timeout != Timeout::Poll;
                    return ControlFlow::Continue(timeout);
                }
                mem::take(&mut queue.commands)
            };
            for command in commands {
                match command {
                    Command::AddListener(listener) => self.add_listener(listener),
                    Command::StopAccepting => self.remove_listeners(),
                    Command::Attach(entry) => self.register(entry),
                    Command::Reattach(slot, entry) => self.reattach(slot, entry),
                    Command::Free(slot) => self.deregister(slot),
                    Command::Wake(slot) => self.schedule(slot),
                    Command::CloseEvicted(limiter) => self.close_evicted(&limiter),
                    Command::Shrink => {
                        self.slots.shrink_to_fit();
                        self.ready_queue.shrink_to(MAX_BATCH);
                    }
                    Command::ShutDown => return ControlFlow::Break(()),
                }
            }
        }
    }

    fn timeout(&self) -> Timeout {
        if !self.ready_queue.is_empty() {
            return Timeout::Poll;
        }
        let times = [self.next_timeout_scan, self.accept_paused_until];
        let Some(until) = times.into_iter().flatten().min() else {
            return Timeout::Never;
        };
        let left = until.since(self.clock.boot());
        match Timespec::try_from(left) {
            Ok(_) if left.is_zero() => Timeout::Poll,
            Ok(left) => Timeout::After(left),
            Err(_) => Timeout::Never,
        }
    }

    fn add_listener(&mut self, listener: Listener) {
        self.listeners.push(Arc::new(listener));
        if self.accept_paused_until.is_none() {
            self.arm_listeners();
        }
    }

    fn arm_listeners(&mut self) {
        for (token, listener) in (LISTENER_TOKEN_BASE..).zip(&self.listeners) {
            let data = EventData::new_u64(token);
            match epoll::add(&self.handle.epoll, &listener.socket, data, EventFlags::IN) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return self.pause_accept(error),
            }
        }
    }

    /// Stops accepting for [`ACCEPT_BACKOFF`].
    fn pause_accept(&mut self, error: Errno) {
        for listener in &self.listeners {
            let _ = epoll::delete(&self.handle.epoll, &listener.socket);
        }
        self.accept_paused_until = Some(self.clock.boot() + ACCEPT_BACKOFF);
        // Logged once, not for each attempt.
        if !mem::replace(&mut self.accept_pause_logged, true) {
            warn!("accepting pauses: {error}");
        }
    }

    /// Accepts again if the pause is over.
    fn resume_accept(&mut self) {
        let now = self.clock.boot();
        let paused = &mut self.accept_paused_until;
        if paused.take_if(|until| *until <= now).is_some() {
            self.arm_listeners();
        }
    }

    fn remove_listeners(&mut self) {
        for listener in mem::take(&mut self.listeners) {
            // The socket itself may stay open, for the program of an upgrade.
            let _ = epoll::delete(&self.handle.epoll, &listener.socket);
        }
    }

    /// Accepts up to `max` connections; level triggering reports the rest.
    fn accept_batch(&mut self, index: usize, max: usize) {
        const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);
        let Some(listener) = self.listeners.get(index).map(Arc::clone) else {
            return;
        };
        for _ in 0..max {
            match accept_with(&listener.socket, FLAGS) {
                Ok(stream) => {
                    if mem::take(&mut self.accept_pause_logged) {
                        info!("accepting again");
                    }
                    // A panic ends this connection only.
                    let accept = || accept_connection(stream.into(), &listener.context);
                    match catch_unwind(AssertUnwindSafe(accept)) {
                        Ok(Some(entry)) => self.register(Box::new(entry)),
                        Ok(None) => {}
                        Err(_) => error!("a bug ended a connection"),
                    }
                    if listener.context.limiter.is_full() {
                        // An evicted connection closes before the next one is accepted.
                        return self.close_evicted(&listener.context.limiter);
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return self.pause_accept(error),
            }
        }
    }

    /// Registers a new connection, and answers at once if its first request has arrived: most
    /// clients send it right after they have connected.
    fn register(&mut self, mut entry: Box<ConnectionEntry>) {
        let slot = self.slots.vacant_key();
        let outcome = entry.poll_catching_panic(&|| self.handle.waker(slot));
        if matches!(outcome, PollOutcome::Close) {
            return;
        }
        let data = EventData::new_u64(slot as u64);
        let connection = entry.handler.connection();
        // Reports at once the input that has arrived since the poll.
        if let Err(error) = epoll::add(&self.handle.epoll, connection, data, CONNECTION_INTEREST) {
            return warn!("cannot add a connection to the epoll set: {error}");
        }
        entry.permit().set_slot(slot);
        self.slots.insert(Slot::Attached(entry));
        self.apply(slot, outcome);
    }

    /// Returns a connection from its task to its slot.
    fn reattach(&mut self, slot: usize, mut entry: Box<ConnectionEntry>) {
        let Some(current) = self.slots.get_mut(slot) else {
            return;
        };
        if let Slot::Offloaded(Some(state)) = current {
            entry.handler.note_readable(*state);
        }
        *current = Slot::Attached(entry);
        // Input that arrived before the task began was not all read.
        self.apply(slot, PollOutcome::Ready);
    }

    /// Frees a slot.
    fn deregister(&mut self, slot: usize) {
        if let Some(Slot::Attached(entry)) = self.slots.try_remove(slot)
            && entry.queued
        {
            self.ready_queue.retain(|it| *it != slot);
        }
    }

    /// Queues the connection whose waker has fired.
    fn schedule(&mut self, slot: usize) {
        if let Some(Slot::Attached(entry)) = self.slots.get_mut(slot)
            && !mem::replace(&mut entry.queued, true)
        {
            self.ready_queue.push(slot);
        }
    }

    /// Polls a connection that epoll has reported.
    fn on_readiness(&mut self, slot: usize, state: ReadState) {
        match self.slots.get_mut(slot) {
            Some(Slot::Attached(entry)) => {
                entry.handler.note_readable(state);
                // A queued connection is polled in its turn.
                if !entry.queued {
                    self.poll(slot);
                }
            }
            Some(Slot::Offloaded(deferred)) => *deferred = Some(state).max(*deferred),
            None => {}
        }
    }

    /// Polls a connection of the ready queue.
    fn poll_queued(&mut self, slot: usize) {
        if let Some(Slot::Attached(entry)) = self.slots.get_mut(slot) {
            entry.queued = false;
            self.poll(slot);
        }
    }

    fn poll(&mut self, slot: usize) {
        if let Some(Slot::Attached(entry)) = self.slots.get_mut(slot) {
            let outcome = entry.poll_catching_panic(&|| self.handle.waker(slot));
            self.apply(slot, outcome);
        }
    }

    /// Applies the outcome of a poll.
    fn apply(&mut self, slot: usize, outcome: PollOutcome) {
        let Some(Slot::Attached(entry)) = self.slots.get_mut(slot) else {
            return;
        };
        match outcome {
            PollOutcome::Idle => {}
            PollOutcome::Ready => {
                entry.queued = true;
                self.ready_queue.push(slot);
            }
            PollOutcome::Offload(work) => {
                let offloaded = mem::replace(&mut self.slots[slot], Slot::Offloaded(None));
                if let Slot::Attached(entry) = offloaded {
                    self.handle.offload(slot, entry, work);
                }
                return;
            }
            PollOutcome::Close => return self.deregister(slot),
        }
        if self.next_timeout_scan.is_none() {
            self.next_timeout_scan = entry.deadline;
        }
    }

    /// Closes the evicted connections, after the reason was sent.
    fn close_evicted(&mut self, limiter: &ConnectionLimiter) {
        for slot in limiter.take_evicted() {
            // The slot may belong to another connection by now. A task closes its connection itself.
            if let Some(Slot::Attached(entry)) = self.slots.get_mut(slot)
                && entry.permit().close_reason().is_some()
            {
                entry.send_close_reason();
                self.deregister(slot);
            }
        }
    }

    /// Closes the connections whose deadline has passed.
    fn close_timed_out(&mut self) {
        let now = self.clock.boot();
        if self.next_timeout_scan.is_none_or(|scan| now < scan) {
            return;
        }
        let is_timed_out = |entry: &ConnectionEntry| entry.deadline.is_some_and(|it| it <= now);
        self.close_where(is_timed_out, |entry| {
            debug!(peer = %entry.handler.client().peer, "connection ended: timed out");
        });
        let deadlines = self.slots.iter().filter_map(|(_, slot)| match slot {
            Slot::Attached(entry) => entry.deadline,
            Slot::Offloaded(_) => None,
        });
        let next = deadlines.min();
        self.next_timeout_scan = next.map(|it| it.max(now + TIMEOUT_SCAN_INTERVAL));
    }

    /// Closes the connections that match, each after `before_close`.
    fn close_where(
        &mut self,
        matches: impl Fn(&ConnectionEntry) -> bool,
        before_close: impl Fn(&mut ConnectionEntry),
    ) {
        let (slots, ready_queue) = (&mut self.slots, &mut self.ready_queue);
        slots.retain(|index, slot| {
            let Slot::Attached(entry) = slot else {
                return true;
            };
            if !matches(entry) {
                return true;
            }
            before_close(entry);
            if entry.queued {
                ready_queue.retain(|it| *it != index);
            }
            false
        });
    }
}

impl Timeout {
    fn as_timespec(&self) -> Option<&Timespec> {
        const ZERO: &Timespec = &Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        match self {
            Self::Poll => Some(ZERO),
            Self::After(left) => Some(left),
            Self::Never => None,
        }
    }
}

/// Returns the state of the peer's sending side that epoll has reported.
fn read_state(flags: EventFlags) -> ReadState {
    if flags.intersects(CLOSED_FLAGS) {
        ReadState::Closed
    } else if flags.contains(EventFlags::RDHUP) {
        ReadState::HalfClosed
    } else {
        ReadState::Open
    }
}
