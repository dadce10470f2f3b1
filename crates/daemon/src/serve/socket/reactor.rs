//! Decides who is looked at: the thread that lets callers in and answers them, at once or as
//! soon as their profile has a session. Whoever asks for something else has a task of the
//! runtime for as long as that takes, so nobody waits for what somebody else has asked.
//!
//! Between its requests a connection rests here, without a task and without a timer: ten
//! thousand that rest are ten thousand small entries of a list, watched by one epoll set.

mod entry;
mod event_loop;

use std::{
    io, mem,
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    task::Wake,
    thread::{self, JoinHandle},
};

use rustix::{
    event::{
        EventfdFlags,
        epoll::{self, CreateFlags, EventData, EventFlags},
        eventfd,
    },
    io::write,
};
use tokio::{runtime::Handle, sync::mpsc};
use tracing::error;

pub(super) use self::entry::Guest;
use self::event_loop::{Desk, ListeningSocket};
use super::connection::Work;
use crate::{
    runtime::{clock::Clock, sync::lock},
    serve::context::Service,
};

/// Enough for a look at a process and a line of the log.
const STACK: usize = 512 * 1024;

/// What everything is watched for; each change once, because nobody goes back to rest before
/// all of it has been read.
const WATCHED: EventFlags = EventFlags::IN
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

/// What is watched besides connections and doors, which are known by their numbers.
const BELL: u64 = u64::MAX;

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
    doors: Vec<ListeningSocket>,
    /// Nobody is let in any more.
    closes: bool,
    /// Who has come by another way, or comes back to its place.
    guests: Vec<(Option<usize>, Box<Guest>)>,
    /// Places of those who do not come back.
    left: Vec<usize>,
    /// Places of those for whom there is news of what they wait for.
    called: Vec<usize>,
    /// Somebody has been told to leave.
    parts: bool,
    ends: bool,
    /// The thread sleeps, or is about to.
    asleep: bool,
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

/// What calls the one who waits at a place.
struct Call {
    front: Arc<Front>,
    place: usize,
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

    /// Begins to answer; called within the runtime whose timers bound what callers wait for.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(crate) fn begin(self: &Arc<Self>, clock: Arc<dyn Clock>) -> io::Result<Answering> {
        let desk = Desk::new(Arc::clone(self), clock);
        let runtime = Handle::current();
        let thread = thread::Builder::new()
            .name("answers".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let _within = runtime.enter();
                desk.work();
            })?;
        Ok(Answering(Arc::clone(self), Some(thread)))
    }

    /// Lets callers in by a socket.
    pub(super) fn open(&self, listener: OwnedFd, service: Arc<Service>) {
        self.tell(|inbox| inbox.doors.push(ListeningSocket { listener, service }));
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

impl Inbox {
    fn is_empty(&self) -> bool {
        self.doors.is_empty()
            && self.guests.is_empty()
            && self.left.is_empty()
            && self.called.is_empty()
            && !(self.closes || self.parts || self.ends)
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

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.front.tell(|inbox| inbox.called.push(self.place));
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
