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
use tokio::sync::mpsc;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{debug, error, warn};

use super::{
    DEADLINE, admit,
    connection::{Connection, Turn, Work},
    convert,
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

/// The way to the thread.
pub struct Front {
    epoll: OwnedFd,
    /// Ends the thread's sleep.
    bell: OwnedFd,
    inbox: Mutex<Inbox>,
    /// Those go here who have to have a task.
    busy: mpsc::UnboundedSender<Busy>,
    /// Taken by who gives them one.
    waiting: Mutex<Option<mpsc::UnboundedReceiver<Busy>>>,
}

/// What the thread is told.
#[derive(Default)]
struct Inbox {
    /// Sockets that callers come by from now on.
    doors: Vec<Door>,
    /// Nobody is let in any more.
    closes: bool,
    /// Who has come by another way, or comes back to its place.
    guests: Vec<(Option<usize>, Box<Guest>)>,
    /// Places of those who do not come back.
    left: Vec<usize>,
    /// Somebody has been told to leave.
    parts: bool,
    ends: bool,
    /// The thread sleeps, or is about to.
    asleep: bool,
}

/// What the thread works with; nobody else sees it.
struct Desk {
    front: Arc<Front>,
    clock: Arc<dyn Clock>,
    doors: Vec<Arc<Door>>,
    /// Doors that may have somebody before them.
    knocks: Vec<usize>,
    /// Accepting pauses, because the system has no room for one more.
    pauses: bool,
    /// Nobody is where a place is free, or kept for one who has a task.
    places: Vec<Option<Box<Guest>>>,
    /// Places that nobody has.
    free: Vec<usize>,
    /// Places of those who may have more to say than has been looked at.
    again: Vec<usize>,
    /// What was told of those who have a task, and whether it was their last.
    missed: BTreeMap<usize, bool>,
    /// When it is looked who is too slow.
    sweep: Option<BootTime>,
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

/// The place of one who has a task. It is free when the task ends, however that is, unless
/// somebody comes back to it.
struct Kept {
    front: Arc<Front>,
    place: Option<usize>,
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
pub(crate) struct Answering(Arc<Front>, Option<JoinHandle<()>>);

impl Front {
    /// Prepares the way; nobody is let in yet.
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
            inbox: Mutex::default(),
            busy,
            waiting: Mutex::new(Some(waiting)),
        })
    }

    /// Begins to answer.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(crate) fn begin(self: &Arc<Self>, clock: Arc<dyn Clock>) -> io::Result<Answering> {
        let mut desk = Desk {
            front: Arc::clone(self),
            clock,
            doors: Vec::new(),
            knocks: Vec::new(),
            pauses: false,
            places: Vec::new(),
            free: Vec::new(),
            again: Vec::new(),
            missed: BTreeMap::new(),
            sweep: None,
        };
        let thread = thread::Builder::new()
            .name("answers".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                while catch_unwind(AssertUnwindSafe(|| desk.answer())).is_err() {
                    error!("a bug met all who are connected; they are served on");
                    thread::sleep(REST);
                    desk.look_at_all();
                }
            })?;
        Ok(Answering(Arc::clone(self), Some(thread)))
    }

    /// Lets callers in by a socket.
    pub(super) fn open(&self, listener: OwnedFd, service: Arc<Service>) {
        self.tell(|inbox| inbox.doors.push(Door { listener, service }));
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        self.tell(|inbox| inbox.closes = true);
    }

    /// Takes in one who has come by a way of its own.
    pub(super) fn take_in(&self, guest: Guest) {
        self.tell(|inbox| inbox.guests.push((None, Box::new(guest))));
    }

    /// Tells those good-bye who have to leave.
    pub(super) fn part(&self) {
        self.tell(|inbox| inbox.parts = true);
    }

    /// Gives those a task who have to have one, for ever.
    pub(super) async fn take_up(self: Arc<Self>) {
        let Some(mut waiting) = lock(&self.waiting).take() else {
            return;
        };
        while let Some(busy) = waiting.recv().await {
            tokio::spawn(busy.take_up());
        }
    }

    fn tell(&self, what: impl FnOnce(&mut Inbox)) {
        let mut inbox = lock(&self.inbox);
        what(&mut inbox);
        if mem::take(&mut inbox.asleep)
            && let Err(error) = write(&self.bell, &1_u64.to_ne_bytes())
        {
            error!("the thread that answers is not woken up: {error}");
        }
    }
}

impl Desk {
    /// Returns when it is told to.
    fn answer(&mut self) {
        let front = Arc::clone(&self.front);
        let mut space = [MaybeUninit::<Event>::uninit(); BATCH];
        while let Some(sleep) = self.read_inbox() {
            let events = match epoll::wait(&front.epoll, &mut space, sleep.as_ref()) {
                Ok((events, _)) => &*events,
                Err(Errno::INTR) => &[],
                Err(error) => return error!("nobody is answered any more: {error}"),
            };
            // Whoever sends many at once takes turns with everybody else.
            let again = mem::take(&mut self.again);
            for event in events {
                // Copies, because they lie at odd addresses.
                let (flags, number) = (event.flags, event.data.u64());
                match number {
                    BELL => {}
                    DOORS.. => self.knock((number - DOORS) as usize),
                    place => self.visit(place as usize, flags),
                }
            }
            for place in again {
                self.visit(place, EventFlags::empty());
            }
            self.let_in();
            if self.sweep.is_some() {
                self.send_the_slow_away();
            }
        }
    }

    /// Has everybody looked at again, because it is not known any more who has to be.
    fn look_at_all(&mut self) {
        self.knocks = (0..self.doors.len()).collect();
        self.again.clear();
        for (place, guest) in self.places.iter_mut().enumerate() {
            if let Some(guest) = guest {
                guest.connection.has_spoken(false);
                guest.again = true;
                self.again.push(place);
            }
        }
    }

    /// Does what the thread was told, and returns for how long to sleep, without an end if
    /// nothing; nothing at all at the end.
    fn read_inbox(&mut self) -> Option<Option<Timespec>> {
        loop {
            let told = {
                let mut inbox = lock(&self.front.inbox);
                if inbox.is_empty() {
                    let sleep = self.sleep();
                    inbox.asleep = sleep != Some(Timespec::default());
                    return Some(sleep);
                }
                mem::take(&mut *inbox)
            };
            if told.ends {
                return None;
            }
            for door in told.doors {
                self.open(door);
            }
            if told.closes {
                self.close();
            }
            for place in told.left {
                self.leave(place);
            }
            for (place, guest) in told.guests {
                match place {
                    None => self.take_in(guest),
                    Some(place) => self.take_back(place, guest),
                }
            }
            if told.parts {
                self.part();
            }
        }
    }

    fn sleep(&self) -> Option<Timespec> {
        let sleep = match (self.again.is_empty(), self.knocks.is_empty()) {
            (true, true) => self.sweep?.since(self.clock.boot()),
            (true, false) if self.pauses => REST,
            _ => Duration::ZERO,
        };
        Timespec::try_from(sleep).ok()
    }

    fn open(&mut self, door: Door) {
        let number = DOORS + self.doors.len() as u64;
        let data = EventData::new_u64(number);
        match epoll::add(&self.front.epoll, &door.listener, data, WATCHED) {
            Ok(()) => self.doors.push(Arc::new(door)),
            Err(error) => error!("nobody is let in by a socket: {error}"),
        }
    }

    fn close(&mut self) {
        for door in mem::take(&mut self.doors) {
            // The socket itself may live on, for a program that takes our place.
            let _ = epoll::delete(&self.front.epoll, &door.listener);
        }
        (self.knocks, self.pauses) = (Vec::new(), false);
    }

    fn knock(&mut self, door: usize) {
        if !self.knocks.contains(&door) {
            self.knocks.push(door);
        }
    }

    /// Lets in those who stand before the doors.
    fn let_in(&mut self) {
        let mut knocks = mem::take(&mut self.knocks);
        knocks.retain(|door| self.let_in_by(*door));
        self.knocks = knocks;
    }

    /// Returns whether there may be more.
    fn let_in_by(&mut self, door: usize) -> bool {
        const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);
        let Some(door) = self.doors.get(door).map(Arc::clone) else {
            return false;
        };
        for _ in 0..AT_ONCE {
            match accept_with(&door.listener, FLAGS) {
                Ok(stream) => {
                    self.pauses = false;
                    // A bug that one meets must not end this for all.
                    let admitted = || admit(stream.into(), &door.service);
                    match catch_unwind(AssertUnwindSafe(admitted)) {
                        Ok(Some(guest)) => self.take_in(Box::new(guest)),
                        Ok(None) => {}
                        Err(_) => error!("a bug ended a connection"),
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
                    if !self.pauses {
                        warn!("accepting pauses: {error}");
                    }
                    self.pauses = true;
                    return true;
                }
            }
        }
        true
    }

    /// Takes in who has just come, and answers at once if it has asked already. Most
    /// callers ask right after they have connected.
    fn take_in(&mut self, mut guest: Box<Guest>) {
        let next = look(&mut guest);
        if matches!(next, Next::Leaves) {
            return;
        }
        let place = self.free.pop().unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(None);
        }
        // What was told of who had it last.
        self.missed.remove(&place);
        let data = EventData::new_u64(place as u64);
        // What has come since is told at once.
        if let Err(error) = epoll::add(&self.front.epoll, &guest.connection, data, WATCHED) {
            warn!("a connection cannot be watched: {error}");
            return self.leave(place);
        }
        self.places[place] = Some(guest);
        self.go_on(place, next);
    }

    /// Takes back who has had a task.
    fn take_back(&mut self, place: usize, mut guest: Box<Guest>) {
        if let Some(last) = self.missed.remove(&place) {
            guest.connection.has_spoken(last);
        }
        self.places[place] = Some(guest);
        // What it said before its task began was not all looked at.
        self.go_on(place, Next::Again);
    }

    fn leave(&mut self, place: usize) {
        if self.places[place].take().is_some_and(|guest| guest.again) {
            self.again.retain(|it| *it != place);
        }
        self.free.push(place);
    }

    fn visit(&mut self, place: usize, told: EventFlags) {
        let last = told.intersects(LAST);
        let Some(guest) = self.places.get_mut(place).and_then(Option::as_mut) else {
            if !told.is_empty() {
                // It hears of it when it comes back.
                *self.missed.entry(place).or_default() |= last;
            }
            return;
        };
        if told.is_empty() {
            guest.again = false;
        } else {
            guest.connection.has_spoken(last);
            if guest.again {
                // It has its turn, however much it says.
                return;
            }
        }
        let next = look(guest);
        self.go_on(place, next);
    }

    fn go_on(&mut self, place: usize, next: Next) {
        let Some(guest) = &mut self.places[place] else {
            return;
        };
        match next {
            Next::Rests => {}
            Next::Again => {
                guest.again = true;
                self.again.push(place);
            }
            Next::Busy(work) => {
                if let Some(guest) = self.places[place].take() {
                    let kept = Kept {
                        front: Arc::clone(&self.front),
                        place: Some(place),
                    };
                    // Nobody takes it up any more only when we have stopped.
                    let _ = self.front.busy.send(Busy { guest, work, kept });
                }
                return;
            }
            Next::Leaves => return self.leave(place),
        }
        if self.sweep.is_none() {
            self.sweep = guest.due;
        }
    }

    /// Tells those good-bye who have to leave.
    fn part(&mut self) {
        self.send_away(|guest| guest.seated.why().is_some(), Guest::part);
    }

    /// Sends away who is too slow.
    fn send_the_slow_away(&mut self) {
        let now = self.clock.boot();
        if self.sweep.is_none_or(|sweep| now < sweep) {
            return;
        }
        let slow = |guest: &Guest| guest.due.is_some_and(|due| due <= now);
        self.send_away(slow, |guest| {
            debug!(peer = %guest.connection.peer(), "connection ended: too slow");
        });
        let guests = self.places.iter().flatten();
        let due = guests.filter_map(|guest| guest.due).min();
        self.sweep = due.map(|due| due.max(now + SWEEP));
    }

    /// Ends the connections of some, after a last word.
    fn send_away(&mut self, whom: impl Fn(&Guest) -> bool, last_word: impl Fn(&mut Guest)) {
        for place in 0..self.places.len() {
            if let Some(guest) = &mut self.places[place]
                && whom(guest)
            {
                last_word(guest);
                self.leave(place);
            }
        }
    }
}

impl Inbox {
    fn is_empty(&self) -> bool {
        self.doors.is_empty()
            && self.guests.is_empty()
            && self.left.is_empty()
            && !(self.closes || self.parts || self.ends)
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

impl Busy {
    async fn take_up(mut self) {
        if self.guest.take_up(self.work).await {
            self.kept.take_back(self.guest);
        }
    }
}

impl Kept {
    fn take_back(mut self, guest: Box<Guest>) {
        guest.seated.falls_silent();
        if let Some(place) = self.place.take() {
            self.front
                .tell(|inbox| inbox.guests.push((Some(place), guest)));
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.front.tell(|inbox| inbox.left.push(place));
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let Self(front, thread) = self;
        front.tell(|inbox| inbox.ends = true);
        if thread.take().is_some_and(|it| it.join().is_err()) {
            error!("a bug ended the thread that answers");
        }
    }
}

/// Looks at somebody; a bug that one meets must not end this for all.
fn look(guest: &mut Guest) -> Next {
    catch_unwind(AssertUnwindSafe(|| guest.look())).unwrap_or_else(|_| {
        error!("a bug ended a connection");
        Next::Leaves
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
