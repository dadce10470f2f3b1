//! A connection in the event loop: its handler and deadline.

use std::{
    os::fd::AsFd as _,
    panic::{AssertUnwindSafe, catch_unwind},
    task::Waker,
};

use stsd_wire::Failure;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{debug, error};

use crate::{
    access::Operation,
    runtime::clock::BootTime,
    serve::{
        connection_limit::{Activity, CloseReason, ConnectionPermit},
        socket::{
            connection::IO_TIMEOUT,
            failures,
            handlers::{Attach, Handler, Offload, ReadOutcome},
        },
    },
};

/// A connection in the event loop.
pub(super) struct ConnectionEntry {
    pub(super) handler: Handler,
    /// The time by which the frame in progress must be complete; `None` without one.
    pub(super) deadline: Option<BootTime>,
    /// The slot is in the ready queue.
    pub(super) queued: bool,
    /// The daemon waits for this token when it stops.
    _drain_token: TaskTrackerToken,
}

/// The next step of the event loop after a poll.
pub(super) enum PollOutcome {
    /// Wait for readiness.
    Idle,
    /// Poll again: there may be more input.
    Ready,
    /// Run work in a task.
    Offload(Offload),
    /// Close the connection.
    Close,
}

impl ConnectionEntry {
    pub(super) fn new(handler: Handler) -> Self {
        let limiter = &handler.client().context.limiter;
        Self {
            _drain_token: limiter.tasks().token(),
            handler,
            deadline: None,
            queued: false,
        }
    }

    pub(super) fn permit(&self) -> &ConnectionPermit {
        self.handler.connection().permit()
    }

    /// Polls the connection once. A panic closes this connection only.
    pub(super) fn poll_catching_panic(&mut self, waker: &dyn Fn() -> Waker) -> PollOutcome {
        catch_unwind(AssertUnwindSafe(|| self.poll(waker))).unwrap_or_else(|_| {
            error!("a bug ended a connection");
            PollOutcome::Close
        })
    }

    fn poll(&mut self, waker: &dyn Fn() -> Waker) -> PollOutcome {
        if self.permit().close_reason().is_some() {
            self.send_close_reason();
            return PollOutcome::Close;
        }
        // The buffer may hold the next request behind the one in progress.
        let outcome = self.handler.poll(waker);
        let offloaded = match &outcome {
            Ok(ReadOutcome::Offload(work)) => work.buffered(),
            _ => 0,
        };
        self.handler.connection().record_buffered(offloaded);
        let ready = match outcome {
            Ok(ReadOutcome::Incomplete) => self.handler.connection().is_maybe_readable(),
            Ok(ReadOutcome::Replied) => {
                self.permit().mark_idle();
                self.deadline = None;
                self.handler.connection().is_maybe_readable() || self.handler.has_partial_input()
            }
            Ok(ReadOutcome::Pending) => {
                self.permit().mark(Activity::Waiting);
                self.deadline = None;
                return PollOutcome::Idle;
            }
            Ok(ReadOutcome::Offload(work)) => {
                self.permit().mark(work.activity());
                // A frame behind this request has a deadline of its own.
                self.deadline = None;
                return PollOutcome::Offload(work);
            }
            Ok(ReadOutcome::Reject(failure)) => {
                self.handler.try_send_failure(&failure);
                return PollOutcome::Close;
            }
            Ok(ReadOutcome::Eof) => return PollOutcome::Close,
            Err(error) => {
                debug!("connection ended: {error}");
                return PollOutcome::Close;
            }
        };
        self.deadline = self.handler.has_partial_input().then(|| {
            let now = || self.handler.client().now();
            self.deadline.unwrap_or_else(|| now() + IO_TIMEOUT)
        });
        match ready {
            true => PollOutcome::Ready,
            false => PollOutcome::Idle,
        }
    }

    /// Runs offloaded work. Returns `true` if the connection goes on.
    pub(super) async fn run(&mut self, work: Offload, attach: Attach<'_>) -> bool {
        let close = self.permit().close_signal();
        let outcome = tokio::select! {
            biased;
            () = close.requested() => None,
            outcome = self.handler.run(work, attach) => Some(outcome),
        };
        match outcome {
            Some(Ok(())) => return true,
            Some(Err(error)) => debug!("connection ended: {error}"),
            None => self.send_close_reason(),
        }
        false
    }

    /// Sends the reason for which the connection is closed, without blocking. A request in progress is
    /// refused by it, and audited.
    pub(super) fn send_close_reason(&mut self) {
        let failure = match self.permit().close_reason() {
            Some(CloseReason::Shutdown) => failures::shutting_down(),
            Some(CloseReason::LeaseEnded) => failures::lease_ended(),
            Some(CloseReason::Displaced) => self.refuse(failures::displaced()),
            Some(CloseReason::BuffersFull) => self.refuse(failures::buffers_full()),
            Some(CloseReason::Evicted) | None => failures::idle_evicted(),
        };
        self.handler.try_send_failure(&failure);
    }
    fn refuse(&self, failure: Failure) -> Failure {
        let (client, socket) = (self.handler.client(), self.handler.connection().as_fd());
        client.refuse(Operation::Connection, None, failure, socket)
    }
}
