//! Decides what becomes of one who is connected: it rests, it is looked at again, it is given
//! a task, or it leaves.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::Waker,
};

use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{debug, error};

use crate::{
    runtime::clock::BootTime,
    serve::{
        connection_limit::{Leave, Seated},
        socket::{
            DEADLINE,
            connection::{Connection, Turn, Work},
            wire_convert,
        },
    },
};

/// One connection, and what it costs to have it here.
pub(in crate::serve::socket) struct Guest {
    pub(super) connection: Connection,
    pub(super) seated: Seated,
    /// When what it has begun must have come.
    pub(super) due: Option<BootTime>,
    /// Its place is among those that are looked at again.
    pub(super) again: bool,
    /// We stop only when it has gone.
    _counted: TaskTrackerToken,
}

/// How it goes on with somebody.
pub(super) enum Next {
    Rests,
    /// There may be more already.
    Again,
    /// This takes its time.
    Busy(Work),
    Leaves,
}

impl Guest {
    pub(in crate::serve::socket) fn new(connection: Connection, seated: Seated) -> Self {
        let counted = connection.service().crowd.tasks().token();
        Self {
            connection,
            seated,
            due: None,
            again: false,
            _counted: counted,
        }
    }

    /// Looks once at what it says, without waiting for it. If it waits for something, `waker`
    /// calls it.
    fn look(&mut self, waker: &dyn Fn() -> Waker) -> Next {
        if self.seated.why().is_some() {
            self.part();
            return Next::Leaves;
        }
        // What is held behind a request may be the next one.
        let again = match self.connection.look(waker) {
            Ok(Turn::Nothing) => self.connection.may_have_more(),
            Ok(Turn::Answered) => {
                self.seated.falls_silent();
                self.due = None;
                self.connection.may_have_more() || self.connection.has_to_go_on()
            }
            Ok(Turn::Waits) => {
                self.seated.has_asked();
                self.due = None;
                return Next::Rests;
            }
            Ok(Turn::Busy(work)) => {
                self.seated.has_asked();
                // What it has begun since then has its own time.
                self.due = None;
                return Next::Busy(work);
            }
            Ok(Turn::Refused(failure)) => {
                self.connection.say(&failure);
                return Next::Leaves;
            }
            Ok(Turn::Left) => return Next::Leaves,
            Err(error) => {
                debug!("connection ended: {error}");
                return Next::Leaves;
            }
        };
        self.due = self
            .connection
            .has_to_go_on()
            .then(|| self.due.unwrap_or_else(|| self.connection.now() + DEADLINE));
        match again {
            true => Next::Again,
            false => Next::Rests,
        }
    }

    /// Does what takes its time; returns whether it may rest again.
    pub(super) async fn take_up(&mut self, work: Work) -> bool {
        let outcome = tokio::select! {
            biased;
            _ = self.seated.told_to_leave() => None,
            outcome = self.connection.take_up(work) => Some(outcome),
        };
        match outcome {
            Some(Ok(())) => return true,
            Some(Err(error)) => debug!("connection ended: {error}"),
            None => self.part(),
        }
        false
    }

    /// Tells it why it has to leave.
    pub(super) fn part(&mut self) {
        let failure = match self.seated.why() {
            Some(Leave::Stops) => wire_convert::stopping(),
            Some(Leave::LeaseOver) => wire_convert::lease_over(),
            Some(Leave::MakesRoom) | None => wire_convert::silent(),
        };
        self.connection.say(&failure);
    }
}

/// Looks at somebody; a bug that one meets must not end this for all.
pub(super) fn look(guest: &mut Guest, waker: &dyn Fn() -> Waker) -> Next {
    catch_unwind(AssertUnwindSafe(|| guest.look(waker))).unwrap_or_else(|_| {
        error!("a bug ended a connection");
        Next::Leaves
    })
}
