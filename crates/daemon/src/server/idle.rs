//! Decides who is looked at: connections rest here between their requests, without a task and
//! without a timer of their own, and are answered from here as long as memory has the answer.
//! Whoever asks for more has a task for as long as that takes.
//!
//! They are watched by one epoll set, which the runtime watches in turn. Ten thousand that
//! rest are then ten thousand small entries of a list, not tasks.

use std::{
    io,
    mem::{self, MaybeUninit},
    os::fd::{AsFd as _, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    io::Errno,
};
use tokio::{io::Interest, sync::Notify, task::yield_now, time::sleep};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{debug, error, warn};

use super::{
    DEADLINE,
    connection::{Connection, Turn, Work},
    convert,
};
use crate::{
    clock::{BootTime, Clock},
    crowd::{Crowd, Leave, Seated},
    ready,
};

/// How many are looked at before everybody else has a turn: more than are let in at a time,
/// so that those who have left are noticed sooner than as many others have come.
const BATCH: usize = 256;

/// How often it is looked at most who is too slow.
const SWEEP: Duration = Duration::from_secs(1);

/// What its connection is watched for; each change once, because nobody goes back to sleep
/// before all of it has been read.
const WATCHED: EventFlags = EventFlags::IN
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

/// The peer has said its last.
const LAST: EventFlags = EventFlags::RDHUP
    .union(EventFlags::HUP)
    .union(EventFlags::ERR);

/// All connections that rest.
pub struct Idle {
    /// Knows each by its place.
    epoll: OwnedFd,
    state: Mutex<State>,
    /// There is somebody who has to be looked at again.
    again: Notify,
    /// There is somebody who has to go on in time.
    unfinished: Notify,
}

#[derive(Default)]
struct State {
    /// Nobody is where a place is free, or kept for one who has a task at the moment.
    places: Vec<Option<Box<Guest>>>,
    /// Places that nobody has.
    free: Vec<usize>,
    /// Places of those who may have more to say than has been looked at.
    again: Vec<usize>,
}

/// One connection, and what it costs to have it here.
pub(super) struct Guest {
    connection: Connection,
    seated: Seated,
    /// When what it has begun must have come.
    due: Option<BootTime>,
    /// Its place is among those that are looked at again.
    again: bool,
    /// We stop only when it has gone.
    _counted: TaskTrackerToken,
}

/// How it goes on with somebody.
enum Next {
    Rests,
    /// There may be more already.
    Again,
    /// This takes its time.
    Busy(Work),
    Leaves,
}

impl Idle {
    /// Makes room for connections.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            state: Mutex::default(),
            again: Notify::new(),
            unfinished: Notify::new(),
        })
    }

    /// Takes in who has just come, and answers at once if it has asked already. Most
    /// callers ask right after they have connected.
    pub(super) fn take_in(self: &Arc<Self>, guest: Guest) {
        let mut guest = Box::new(guest);
        let next = guest.look();
        if matches!(next, Next::Leaves) {
            return;
        }
        let place = self.lock().a_place();
        let data = EventData::new_u64(place as u64);
        // What has come since is told at once.
        if let Err(error) = epoll::add(&self.epoll, &guest.connection, data, WATCHED) {
            warn!("a connection cannot be watched: {error}");
            return self.lock().leave(place);
        }
        self.go_on(place, guest, next);
    }

    /// Answers whoever says something, for ever.
    pub(super) async fn answer(self: Arc<Self>) {
        let watched = match ready::watched(self.epoll.as_fd(), Interest::READABLE) {
            Ok(watched) => watched,
            Err(error) => return error!("nobody can be answered: {error}"),
        };
        loop {
            let told = tokio::select! {
                biased;
                told = watched.readable() => Some(told),
                () = self.again.notified() => None,
            };
            let all = match told {
                None => true,
                Some(Ok(mut told)) => {
                    let all = self.look_at_who_spoke();
                    if all {
                        told.clear_ready();
                    }
                    all
                }
                Some(Err(error)) => return error!("nobody can be answered: {error}"),
            };
            let again = mem::take(&mut self.lock().again);
            let none = again.is_empty();
            for place in again {
                self.visit(place, EventFlags::empty());
            }
            // Whoever sends many at once takes turns with everybody else.
            if !all || !none {
                yield_now().await;
            }
        }
    }

    /// Sends away who is too slow, for ever.
    pub(super) async fn hurry(self: Arc<Self>, clock: Arc<dyn Clock>) {
        loop {
            self.unfinished.notified().await;
            while let Some(wait) = self.send_the_slow_away(clock.boot()) {
                sleep(wait.max(SWEEP)).await;
            }
        }
    }

    /// Tells those good-bye who have to leave, for ever.
    pub(super) async fn part(self: Arc<Self>, crowd: Arc<Crowd>) {
        loop {
            crowd.somebody_leaves().await;
            self.send_away(|guest| guest.seated.why().is_some(), Guest::part);
        }
    }

    /// Returns whether that were all.
    fn look_at_who_spoke(self: &Arc<Self>) -> bool {
        let mut space = [MaybeUninit::<Event>::uninit(); BATCH];
        let events = match epoll::wait(&self.epoll, &mut space, Some(&Timespec::default())) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return false,
            Err(error) => {
                error!("who speaks cannot be seen: {error}");
                return true;
            }
        };
        for event in &*events {
            // A copy, because it lies at an odd address.
            let flags = event.flags;
            self.visit(event.data.u64() as usize, flags);
        }
        events.len() < BATCH
    }

    fn visit(self: &Arc<Self>, place: usize, told: EventFlags) {
        // Who has a task is looked at when it comes back.
        let Some(mut guest) = self.lock().keep(place) else {
            return;
        };
        if told.is_empty() {
            guest.again = false;
        } else {
            guest.connection.has_spoken(told.intersects(LAST));
            if guest.again {
                // It has its turn, however much it says.
                return self.rest(place, guest);
            }
        }
        // A bug that one meets must not end this for all.
        match catch_unwind(AssertUnwindSafe(|| guest.look())) {
            Ok(next) => self.go_on(place, guest, next),
            Err(_) => {
                error!("a bug ended a connection");
                self.lock().leave(place);
            }
        }
    }

    fn go_on(self: &Arc<Self>, place: usize, mut guest: Box<Guest>, next: Next) {
        match next {
            Next::Rests => self.rest(place, guest),
            Next::Again => {
                guest.again = true;
                self.rest(place, guest);
                self.lock().again.push(place);
                self.again.notify_one();
            }
            Next::Busy(work) => {
                let kept = Kept {
                    idle: Arc::clone(self),
                    place: Some(place),
                };
                tokio::spawn(async move {
                    if guest.take_up(work).await {
                        kept.rest(guest);
                    }
                });
            }
            Next::Leaves => {
                drop(guest);
                self.lock().leave(place);
            }
        }
    }

    fn rest(&self, place: usize, guest: Box<Guest>) {
        if guest.due.is_some() {
            self.unfinished.notify_one();
        }
        self.lock().places[place] = Some(guest);
    }

    /// Returns how long it is until somebody is too slow, if anybody can be.
    fn send_the_slow_away(&self, now: BootTime) -> Option<Duration> {
        let slow = |guest: &Guest| guest.due.is_some_and(|due| due <= now);
        self.send_away(slow, |guest| {
            debug!(peer = %guest.connection.peer(), "connection ended: too slow");
        });
        let state = self.lock();
        let due = state.guests().filter_map(|(_, guest)| guest.due);
        due.min().map(|due| due.since(now))
    }

    /// Ends the connections of some, after a last word.
    fn send_away(&self, whom: impl Fn(&Guest) -> bool, last_word: impl Fn(&mut Guest)) {
        let mut state = self.lock();
        let theirs = state.guests().filter(|(_, guest)| whom(guest));
        let places: Vec<_> = theirs.map(|(place, _)| place).collect();
        for place in places {
            if let Some(mut guest) = state.keep(place) {
                last_word(&mut guest);
            }
            state.leave(place);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns a place that is kept for one who comes.
    fn a_place(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        })
    }

    fn leave(&mut self, place: usize) {
        self.free.push(place);
    }

    /// Takes somebody out, whose place is kept; nobody if it is not there.
    fn keep(&mut self, place: usize) -> Option<Box<Guest>> {
        self.places.get_mut(place)?.take()
    }

    fn guests(&self) -> impl Iterator<Item = (usize, &Guest)> {
        let there = self.places.iter().map(Option::as_deref).enumerate();
        there.filter_map(|(place, guest)| Some((place, guest?)))
    }
}

impl Guest {
    pub(super) fn new(connection: Connection, seated: Seated) -> Self {
        let counted = connection.service().crowd.tasks().token();
        Self {
            connection,
            seated,
            due: None,
            again: false,
            _counted: counted,
        }
    }

    /// Looks once at what it says, without waiting for it.
    fn look(&mut self) -> Next {
        if self.seated.why().is_some() {
            self.part();
            return Next::Leaves;
        }
        // What is held behind a request may be the next one.
        let again = match self.connection.look() {
            Ok(Turn::Nothing) => self.connection.may_have_more(),
            Ok(Turn::Answered) => {
                self.seated.falls_silent();
                self.due = None;
                self.connection.may_have_more() || self.connection.has_to_go_on()
            }
            Ok(Turn::Busy(work)) => {
                self.seated.has_asked();
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
    async fn take_up(&mut self, work: Work) -> bool {
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
    fn part(&mut self) {
        let failure = match self.seated.why() {
            Some(Leave::Stops) => convert::stopping(),
            Some(Leave::LeaseOver) => convert::lease_over(),
            Some(Leave::MakesRoom) | None => convert::silent(),
        };
        self.connection.say(&failure);
    }
}

/// The place of one who has a task. It is free when the task ends, however that is, unless
/// somebody comes back to it.
struct Kept {
    idle: Arc<Idle>,
    place: Option<usize>,
}

impl Kept {
    fn rest(mut self, mut guest: Box<Guest>) {
        // What has come meanwhile was told to nobody.
        guest.connection.has_spoken(false);
        guest.seated.falls_silent();
        if let Some(place) = self.place.take() {
            self.idle.go_on(place, guest, Next::Again);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.idle.lock().leave(place);
        }
    }
}
