//! Decides who is looked at: the thread that lets callers in and answers them, as long as
//! memory has the answer. Whoever asks for more has a task of the runtime for as long as that
//! takes, so nobody waits for what somebody else has asked, nor for a renewal.
//!
//! Between its requests a connection rests here, without a task and without a timer: ten
//! thousand that rest are ten thousand small entries of a list, watched by one epoll set.

use std::{
    collections::BTreeMap,
    io,
    mem::{self, MaybeUninit},
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::{
    event::{
        EventfdFlags, Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
        eventfd,
    },
    io::{Errno, write},
    net::{SocketFlags, accept_with},
};
use tokio::{
    sync::{Notify, mpsc},
    time::sleep,
};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{debug, error, warn};

use super::{
    DEADLINE,
    connection::{Connection, Turn, Work},
    convert, let_in,
};
use crate::{
    accept::REST,
    clock::{BootTime, Clock},
    crowd::{Leave, Seated},
    service::Service,
};

/// Enough for a look at a process and a line of the log.
const STACK: usize = 512 * 1024;

/// How many are looked at before those who come are let in.
const BATCH: usize = 128;

/// How many are let in before everybody else is looked at: fewer, so that those who have left
/// are noticed sooner than as many others have come.
const AT_ONCE: usize = 64;

/// How often it is looked at most who is too slow.
const SWEEP: Duration = Duration::from_secs(1);

/// What everything is watched for; each change once, because nobody goes back to rest before
/// all of it has been read.
const WATCHED: EventFlags = EventFlags::IN
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

/// The peer has said its last.
const LAST: EventFlags = EventFlags::RDHUP
    .union(EventFlags::HUP)
    .union(EventFlags::ERR);

/// What is watched besides connections, which are known by their places: the bell, and doors.
const BELL: u64 = u64::MAX;
const DOORS: u64 = 1 << 32;

/// All connections, and where they come in.
pub struct Front {
    epoll: OwnedFd,
    /// Ends the thread's sleep.
    bell: OwnedFd,
    state: Mutex<State>,
    /// There is somebody who has to go on in time.
    unfinished: Notify,
    /// Those go here who have to have a task.
    busy: mpsc::UnboundedSender<Busy>,
}

#[derive(Default)]
struct State {
    doors: Vec<Arc<Door>>,
    /// Nobody is where a place is free, or kept for one who is looked at or has a task.
    places: Vec<Option<Box<Guest>>>,
    /// Places that nobody has.
    free: Vec<usize>,
    /// Places of those who may have more to say than has been looked at.
    again: Vec<usize>,
    /// What was told of those who were not in their place, and whether it was their last.
    missed: BTreeMap<usize, bool>,
    /// The thread sleeps, or is about to.
    asleep: bool,
    ends: bool,
    /// Taken by who gives those a task who have to have one.
    waiting: Option<mpsc::UnboundedReceiver<Busy>>,
}

/// A socket that callers come by.
struct Door {
    listener: OwnedFd,
    service: Arc<Service>,
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

/// One who has to have a task.
struct Busy {
    guest: Box<Guest>,
    work: Work,
    kept: Kept,
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

/// The thread; dropping it ends it.
pub(super) struct Answering(Arc<Front>, Option<JoinHandle<()>>);

impl Front {
    /// Makes room for connections; nobody is let in yet.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &bell, EventData::new_u64(BELL), WATCHED)?;
        let (busy, waiting) = mpsc::unbounded_channel();
        Ok(Self {
            epoll,
            bell,
            state: Mutex::new(State {
                waiting: Some(waiting),
                ..State::default()
            }),
            unfinished: Notify::new(),
            busy,
        })
    }

    /// Begins to answer.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn begin(self: &Arc<Self>) -> io::Result<Answering> {
        let front = Arc::clone(self);
        let thread = thread::Builder::new()
            .name("answers".to_owned())
            .stack_size(STACK)
            .spawn(move || front.answer())?;
        Ok(Answering(Arc::clone(self), Some(thread)))
    }

    /// Lets callers in by a socket.
    ///
    /// # Errors
    /// When the system has no memory to watch it.
    pub(super) fn open(&self, listener: OwnedFd, service: Arc<Service>) -> io::Result<()> {
        let door = Arc::new(Door { listener, service });
        let mut state = self.lock();
        let number = DOORS + state.doors.len() as u64;
        epoll::add(
            &self.epoll,
            &door.listener,
            EventData::new_u64(number),
            WATCHED,
        )?;
        state.doors.push(door);
        Ok(())
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        for door in mem::take(&mut self.lock().doors) {
            // The socket itself may live on, for a program that takes our place.
            let _ = epoll::delete(&self.epoll, &door.listener);
        }
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

    /// Gives those a task who have to have one, for ever.
    pub(super) async fn take_up(self: Arc<Self>) {
        let Some(mut waiting) = self.lock().waiting.take() else {
            return;
        };
        while let Some(busy) = waiting.recv().await {
            tokio::spawn(busy.take_up());
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

    /// Tells those good-bye who have to leave.
    pub(super) fn part(&self) {
        self.send_away(|guest| guest.seated.why().is_some(), Guest::part);
    }

    /// The thread's work.
    fn answer(self: Arc<Self>) {
        let mut space = [MaybeUninit::<Event>::uninit(); BATCH];
        // Doors that may have somebody before them, and what pauses accepting.
        let (mut doors, mut pauses) = (Vec::new(), false);
        while let Some(sleep) = self.fall_asleep(&doors, pauses) {
            let told = epoll::wait(&self.epoll, &mut space, sleep.as_ref());
            let again = self.wake_up();
            let events = match told {
                Ok((events, _)) => &*events,
                Err(Errno::INTR) => &[],
                Err(error) => return error!("nobody is answered any more: {error}"),
            };
            for event in events {
                // Copies, because they lie at odd addresses.
                let (flags, number) = (event.flags, event.data.u64());
                match number {
                    BELL => {}
                    DOORS.. => doors.push((number - DOORS) as usize),
                    place => self.visit(place as usize, flags),
                }
            }
            // Whoever sends many at once takes turns with everybody else.
            for place in again {
                self.visit(place, EventFlags::empty());
            }
            doors.sort_unstable();
            doors.dedup();
            doors.retain(|door| {
                let door = self.lock().doors.get(*door).map(Arc::clone);
                door.is_some_and(|it| self.let_in_by(&it, &mut pauses))
            });
        }
    }

    /// Returns for how long to sleep, without an end if nothing; nothing at all at the end.
    fn fall_asleep(&self, doors: &[usize], pauses: bool) -> Option<Option<Timespec>> {
        let mut state = self.lock();
        if state.ends {
            return None;
        }
        let sleep = match (state.again.is_empty(), doors.is_empty()) {
            (true, true) => None,
            (true, false) if pauses => Timespec::try_from(REST).ok(),
            _ => Some(Timespec::default()),
        };
        state.asleep = sleep != Some(Timespec::default());
        Some(sleep)
    }

    /// Returns who is looked at again.
    fn wake_up(&self) -> Vec<usize> {
        let mut state = self.lock();
        state.asleep = false;
        mem::take(&mut state.again)
    }

    /// Lets in those who stand before a door; returns whether there may be more.
    fn let_in_by(&self, door: &Door, pauses: &mut bool) -> bool {
        const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);
        for _ in 0..AT_ONCE {
            match accept_with(&door.listener, FLAGS) {
                Ok(stream) => {
                    *pauses = false;
                    // A bug that the first request of one meets must not end this for all.
                    let let_in = || let_in(stream.into(), &door.service);
                    if catch_unwind(AssertUnwindSafe(let_in)).is_err() {
                        error!("a bug ended a connection");
                    }
                    if door.service.crowd.is_full() {
                        // Who has to make room does so before the next one is let in.
                        self.part();
                        return true;
                    }
                }
                Err(Errno::AGAIN) => return false,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => {
                    // Said once, not at every try.
                    if !*pauses {
                        warn!("accepting pauses: {error}");
                    }
                    *pauses = true;
                    return true;
                }
            }
        }
        true
    }

    fn visit(self: &Arc<Self>, place: usize, told: EventFlags) {
        let last = told.intersects(LAST);
        let guest = {
            let mut state = self.lock();
            let guest = state.keep(place);
            if guest.is_none() && !told.is_empty() {
                // It hears of it when it comes back.
                *state.missed.entry(place).or_default() |= last;
            }
            guest
        };
        let Some(mut guest) = guest else { return };
        if told.is_empty() {
            guest.again = false;
        } else {
            guest.connection.has_spoken(last);
            if guest.again {
                // It has its turn, however much it says.
                self.lock().places[place] = Some(guest);
                return;
            }
        }
        // A bug that one meets must not end this for all.
        match catch_unwind(AssertUnwindSafe(|| guest.look())) {
            Ok(next) => self.go_on(place, guest, next),
            Err(_) => {
                error!("a bug ended a connection");
                self.go_on(place, guest, Next::Leaves);
            }
        }
    }

    fn go_on(self: &Arc<Self>, place: usize, mut guest: Box<Guest>, next: Next) {
        match next {
            Next::Rests => self.rest(place, guest),
            Next::Again => {
                guest.again = true;
                self.rest(place, guest);
            }
            Next::Busy(work) => {
                let kept = Kept {
                    front: Arc::clone(self),
                    place: Some(place),
                };
                // Nobody is there any more only when we have stopped.
                let _ = self.busy.send(Busy { guest, work, kept });
            }
            Next::Leaves => {
                drop(guest);
                self.lock().leave(place);
            }
        }
    }

    fn rest(&self, place: usize, mut guest: Box<Guest>) {
        if guest.due.is_some() {
            self.unfinished.notify_one();
        }
        let mut state = self.lock();
        let mut again = mem::take(&mut guest.again);
        if let Some(last) = state.missed.remove(&place) {
            guest.connection.has_spoken(last);
            again = true;
        }
        // Who looked for those who have to leave has not found it here.
        again |= guest.seated.why().is_some();
        guest.again = again;
        state.places[place] = Some(guest);
        if again {
            state.again.push(place);
            if mem::take(&mut state.asleep) {
                self.ring();
            }
        }
    }

    fn ring(&self) {
        if let Err(error) = write(&self.bell, &1_u64.to_ne_bytes()) {
            error!("the thread that answers is not woken up: {error}");
        }
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

impl Drop for Answering {
    fn drop(&mut self) {
        let Self(front, thread) = self;
        front.lock().ends = true;
        front.ring();
        if thread.take().is_some_and(|it| it.join().is_err()) {
            error!("a bug ended the thread that answers");
        }
    }
}

impl Busy {
    async fn take_up(mut self) {
        if self.guest.take_up(self.work).await {
            self.kept.rest(self.guest);
        }
    }
}

impl State {
    /// Returns a place that is kept for one who comes.
    fn a_place(&mut self) -> usize {
        let place = self.free.pop().unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(None);
        }
        // What was told of who had it last.
        self.missed.remove(&place);
        place
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
    front: Arc<Front>,
    place: Option<usize>,
}

impl Kept {
    fn rest(mut self, mut guest: Box<Guest>) {
        guest.seated.falls_silent();
        // What it has said before its task began was not all looked at.
        guest.again = guest.connection.may_have_more() || guest.connection.has_to_go_on();
        if let Some(place) = self.place.take() {
            self.front.rest(place, guest);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.front.lock().leave(place);
        }
    }
}
