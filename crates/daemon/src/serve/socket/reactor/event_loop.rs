//! Decides who is looked at, and in which order: the thread's own work, of which nobody else
//! sees anything. One epoll set watches everybody. Each change of a connection is told once;
//! that somebody stands before a door, as long as that is so: an accept that finds nobody costs
//! the kernel nearly as much as one that finds somebody.

use std::{
    collections::BTreeMap,
    mem::{self, MaybeUninit},
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::Waker,
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
use tracing::{debug, error, warn};

use super::{
    BELL, Busy, Call, Front, Kept, WATCHED,
    entry::{Guest, Next, look},
    lock,
};
use crate::{
    runtime::clock::{BootTime, Clock},
    serve::{
        accept::REST,
        context::Service,
        socket::{admit, connection::Said},
    },
};

/// How many are told of, and as many looked at again, before those who come are let in.
const BATCH: usize = 128;

/// How often it is looked at most who is too slow.
const SWEEP: Duration = Duration::from_secs(1);

/// The peer has left.
const LEFT: EventFlags = EventFlags::HUP.union(EventFlags::ERR);

/// From here on the numbers are doors' and not places.
const DOORS: u64 = 1 << 32;

/// What the thread works with; nobody else sees it.
pub(super) struct Desk {
    front: Arc<Front>,
    clock: Arc<dyn Clock>,
    doors: Vec<Arc<ListeningSocket>>,
    /// Until when the doors are shut, because the system has no room for one more.
    shut: Option<BootTime>,
    /// That has been said, and nobody was let in since.
    pauses: bool,
    /// Nobody is where a place is free, or kept for one who has a task.
    places: Vec<Option<Box<Guest>>>,
    /// Places that nobody has.
    free: Vec<usize>,
    /// Places of those who may have more to say than has been looked at.
    again: Vec<usize>,
    /// What was told of those who have a task.
    missed: BTreeMap<usize, Said>,
    /// When it is looked who is too slow.
    sweep: Option<BootTime>,
}

/// A socket that callers come by.
pub(super) struct ListeningSocket {
    pub(super) listener: OwnedFd,
    pub(super) service: Arc<Service>,
}

impl Desk {
    pub(super) fn new(front: Arc<Front>, clock: Arc<dyn Clock>) -> Self {
        Self {
            front,
            clock,
            doors: Vec::new(),
            shut: None,
            pauses: false,
            places: Vec::new(),
            free: Vec::new(),
            again: Vec::new(),
            missed: BTreeMap::new(),
            sweep: None,
        }
    }

    /// What the thread does until it is told to end.
    pub(super) fn work(mut self) {
        while catch_unwind(AssertUnwindSafe(|| self.answer())).is_err() {
            error!("a bug met all who are connected; they are served on");
            thread::sleep(REST);
            self.look_at_all();
        }
    }

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
            let later = self.again.split_off(self.again.len().min(BATCH));
            let again = mem::replace(&mut self.again, later);
            let mut spoke = again.len();
            for event in events {
                // Copies, because they lie at odd addresses.
                let (flags, number) = (event.flags, event.data.u64());
                if number < DOORS {
                    self.visit(number as usize, Some(said(flags)));
                    spoke += 1;
                }
            }
            for place in again {
                self.visit(place, None);
            }
            // As many come in as were looked at, so that those who have left are noticed before
            // as many others have come. Most are alone, and nobody is looked for behind them.
            for event in events {
                match event.data.u64() {
                    BELL | ..DOORS => {}
                    door => self.let_in((door - DOORS) as usize, spoke.max(1)),
                }
            }
            if self.shut.is_some() {
                self.open_again();
            }
            if self.sweep.is_some() {
                self.send_the_slow_away();
            }
        }
    }

    /// Has everybody looked at again, because it is not known any more who has to be.
    fn look_at_all(&mut self) {
        self.again.clear();
        for (place, guest) in self.places.iter_mut().enumerate() {
            if let Some(guest) = guest {
                guest.connection.has_spoken(Said::Something);
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
            for place in told.called {
                self.call(place);
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
        if !self.again.is_empty() {
            return Some(Timespec::default());
        }
        let until = [self.sweep, self.shut].into_iter().flatten().min()?;
        Timespec::try_from(until.since(self.clock.boot())).ok()
    }

    fn open(&mut self, door: ListeningSocket) {
        self.doors.push(Arc::new(door));
        if self.shut.is_none() {
            self.watch_doors();
        }
    }

    fn watch_doors(&mut self) {
        for (number, door) in (DOORS..).zip(&self.doors) {
            let data = EventData::new_u64(number);
            match epoll::add(&self.front.epoll, &door.listener, data, EventFlags::IN) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return self.shut(error),
            }
        }
    }

    /// Shuts the doors for a while, because the system has no room for one more.
    fn shut(&mut self, error: Errno) {
        for door in &self.doors {
            let _ = epoll::delete(&self.front.epoll, &door.listener);
        }
        self.shut = Some(self.clock.boot() + REST);
        // Said once, not at every try.
        if !mem::replace(&mut self.pauses, true) {
            warn!("accepting pauses: {error}");
        }
    }

    /// Opens them when that is over.
    fn open_again(&mut self) {
        let now = self.clock.boot();
        if self.shut.take_if(|until| *until <= now).is_some() {
            self.watch_doors();
        }
    }

    fn close(&mut self) {
        for door in mem::take(&mut self.doors) {
            // The socket itself may live on, for a program that takes our place.
            let _ = epoll::delete(&self.front.epoll, &door.listener);
        }
    }

    /// Lets in some of those who stand before a door; the others are told of again.
    fn let_in(&mut self, door: usize, most: usize) {
        const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);
        let Some(door) = self.doors.get(door).map(Arc::clone) else {
            return;
        };
        for _ in 0..most {
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
                        return self.part();
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return self.shut(error),
            }
        }
    }

    /// Takes in who has just come, and answers at once if it has asked already. Most
    /// callers ask right after they have connected.
    fn take_in(&mut self, mut guest: Box<Guest>) {
        let place = self.free.pop().unwrap_or(self.places.len());
        let next = look(&mut guest, &|| waker(&self.front, place));
        if matches!(next, Next::Leaves) {
            return self.free.push(place);
        }
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
        if let Some(said) = self.missed.remove(&place) {
            guest.connection.has_spoken(said);
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

    /// Has one looked at for whom there is news.
    fn call(&mut self, place: usize) {
        if let Some(guest) = self.places.get_mut(place).and_then(Option::as_mut)
            && !mem::replace(&mut guest.again, true)
        {
            self.again.push(place);
        }
    }

    fn visit(&mut self, place: usize, told: Option<Said>) {
        let Some(guest) = self.places.get_mut(place).and_then(Option::as_mut) else {
            if let Some(said) = told {
                // It hears of it when it comes back.
                let missed = self.missed.entry(place).or_insert(said);
                *missed = said.max(*missed);
            }
            return;
        };
        match told {
            None => guest.again = false,
            Some(said) => {
                guest.connection.has_spoken(said);
                if guest.again {
                    // It has its turn, however much it says.
                    return;
                }
            }
        }
        let next = look(guest, &|| waker(&self.front, place));
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

fn said(told: EventFlags) -> Said {
    if told.intersects(LEFT) {
        Said::GoodBye
    } else if told.contains(EventFlags::RDHUP) {
        Said::ItsLast
    } else {
        Said::Something
    }
}

/// Returns what calls the one at a place.
fn waker(front: &Arc<Front>, place: usize) -> Waker {
    let front = Arc::clone(front);
    Waker::from(Arc::new(Call { front, place }))
}
