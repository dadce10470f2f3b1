//! Decides how many may be connected, and who has to go when there are too many: whoever
//! has been silent for longest. Nobody who waits for an answer is ever sent away.

use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::{access::peer::Peer, runtime::sync};

/// No daemon needs more, whatever the system would allow.
const MOST: usize = 16 * 1024;

/// How many open files we need for ourselves at least.
const OWN: u64 = 32;

/// With fewer nobody could work; then it is the system that says no.
const FEWEST: usize = 16;

/// What stands in for "has asked and waits for the answer".
const BUSY: u64 = 0;

/// Everybody who is connected.
pub struct Crowd {
    most: usize,
    /// How many of them one user may be, or those who come by one lease.
    share: Share,
    /// Tells who has been silent for longer; time does not matter.
    ticks: AtomicU64,
    state: Mutex<State>,
    /// Rings for those who do not listen to a bell of their own.
    leaving: Notify,
    tasks: TaskTracker,
}

/// How many connections one party may have.
#[derive(Debug, Clone, Copy)]
pub enum Share {
    /// A user's daemon: all, there is but one user.
    All,
    /// A machine's daemon: half, so that no user keeps the others out.
    Half,
}

/// Those who share a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Party {
    /// A user, with all who come by its leases.
    User(u32),
    /// Everybody who comes by one lease, by its number.
    Lease(u32),
}

/// What a peer counts towards.
#[derive(Debug, Clone, Copy)]
struct Parties {
    user: Party,
    lease: Option<Party>,
}

/// Why somebody has to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Others need the place, and it has been silent for longest.
    MakesRoom,
    /// The lease by which it came is over.
    LeaseOver,
    /// The daemon stops.
    Stops,
}

#[derive(Default)]
struct State {
    /// Nobody stays any more.
    stops: bool,
    /// By their numbers; none where a number is free.
    seats: Vec<Option<Arc<Seat>>>,
    free: Vec<usize>,
    /// How many there are of each who has somebody here: users of one machine, and leases.
    parties: Vec<(Party, usize)>,
}

struct Seat {
    number: usize,
    parties: Parties,
    /// The tick at which it became silent, or [`BUSY`].
    silent_since: AtomicU64,
    /// One bell for all reasons, because everybody listens to it at every turn.
    leave: Notify,
    why: OnceLock<Leave>,
}

/// One who is connected, until this is dropped.
pub(crate) struct Seated {
    crowd: Arc<Crowd>,
    seat: Arc<Seat>,
}

impl Crowd {
    /// Makes room for as many as this process may have open files, less what it needs for
    /// everything else.
    #[must_use]
    pub fn new(open_files: u64, share: Share) -> Self {
        let own = (open_files / 4).max(OWN);
        let room = usize::try_from(open_files.saturating_sub(own)).unwrap_or(MOST);
        Self {
            most: room.clamp(FEWEST, MOST),
            share,
            ticks: AtomicU64::new(BUSY + 1),
            state: Mutex::default(),
            leaving: Notify::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Returns the tasks of all connections, for who waits until they have ended.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Tells whether there are as many as there may be, those included who are about to leave.
    pub(crate) fn is_full(&self) -> bool {
        self.tasks.len() >= self.most
    }

    /// Gives a peer its place; one who is silent leaves where there are too many. Nothing
    /// when nobody is silent.
    pub(crate) fn admit(self: &Arc<Self>, peer: &Peer) -> Option<Seated> {
        let parties = Parties::of(peer);
        let mut state = self.lock();
        let mut made = true;
        for party in parties.all() {
            if state.count(party) >= self.share(party) {
                made &= state.make_room(|seat| seat.parties.all().any(|it| it == party));
                self.leaving.notify_one();
            }
        }
        if made && state.taken() >= self.most {
            made = state.make_room(|_| true);
            self.leaving.notify_one();
        }
        made.then(|| Seated {
            crowd: Arc::clone(self),
            seat: state.seat(parties, self.tick()),
        })
    }

    /// Ends when somebody has been told to leave.
    pub(crate) async fn somebody_leaves(&self) {
        self.leaving.notified().await;
    }

    /// Tells everybody to leave who is here or is still to come.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stops = true;
        state.seated().for_each(|it| it.tell(Leave::Stops));
        self.leaving.notify_one();
    }

    /// Tells those to leave who came by a lease, of that number.
    pub(crate) fn end_lease(&self, number: u32) {
        let state = self.lock();
        let theirs = |seat: &&Arc<Seat>| seat.parties.lease == Some(Party::Lease(number));
        let seats = state.seated().filter(theirs);
        seats.for_each(|it| it.tell(Leave::LeaseOver));
        self.leaving.notify_one();
    }

    fn share(&self, party: Party) -> usize {
        match (party, self.share) {
            // A sandbox must not keep its owner's other programs out.
            (Party::Lease(_), _) => self.most / 16,
            (Party::User(_), Share::Half) => self.most / 2,
            (Party::User(_), Share::All) => self.most,
        }
        .max(1)
    }

    /// Two may have the same one at once, which tells nobody that either has been silent for longer.
    fn tick(&self) -> u64 {
        let tick = self.ticks.load(Ordering::Relaxed);
        self.ticks.store(tick + 1, Ordering::Relaxed);
        tick
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }
}

impl Parties {
    fn of(peer: &Peer) -> Self {
        let owner = peer.lease.map_or(peer.uid, |lease| lease.owner);
        Self {
            user: Party::User(owner),
            lease: peer.lease.map(|lease| Party::Lease(lease.number)),
        }
    }

    fn all(&self) -> impl Iterator<Item = Party> + use<> {
        [Some(self.user), self.lease].into_iter().flatten()
    }
}

impl State {
    fn seated(&self) -> impl Iterator<Item = &Arc<Seat>> {
        self.seats.iter().flatten()
    }

    fn taken(&self) -> usize {
        self.seats.len() - self.free.len()
    }

    fn count(&self, party: Party) -> usize {
        let theirs = self.parties.iter().find(|(it, _)| *it == party);
        theirs.map_or(0, |(_, count)| *count)
    }

    fn seat(&mut self, parties: Parties, now: u64) -> Arc<Seat> {
        for party in parties.all() {
            match self.parties.iter_mut().find(|(it, _)| *it == party) {
                Some((_, count)) => *count += 1,
                None => self.parties.push((party, 1)),
            }
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.seats.push(None);
            self.seats.len() - 1
        });
        let seat = Arc::new(Seat {
            number,
            parties,
            silent_since: AtomicU64::new(now),
            leave: Notify::new(),
            why: OnceLock::new(),
        });
        if self.stops {
            seat.tell(Leave::Stops);
        }
        self.seats[number] = Some(Arc::clone(&seat));
        seat
    }

    /// Sends away a sixteenth of those who are silent, those who have been for longest, so
    /// that the search is not repeated for each newcomer.
    fn make_room(&mut self, concerns: impl Fn(&Seat) -> bool) -> bool {
        let silent = |seat: &Seat| Some(seat.silent_since()).filter(|since| *since != BUSY);
        let mut candidates: Vec<_> = self
            .seated()
            .filter(|seat| concerns(seat))
            .filter_map(|seat| Some((silent(seat)?, seat.number)))
            .collect();
        candidates.sort_unstable();
        let count = (candidates.len() / 16).max(1);
        for (_, number) in candidates.iter().take(count) {
            if let Some(seat) = self.remove(*number) {
                seat.tell(Leave::MakesRoom);
            }
        }
        !candidates.is_empty()
    }

    /// Forgets who leaves. Who had to make room is forgotten already, and its number may be
    /// another's.
    fn forget(&mut self, seat: &Arc<Seat>) {
        let there = self.seats[seat.number].as_ref();
        if there.is_some_and(|it| Arc::ptr_eq(it, seat)) {
            self.remove(seat.number);
        }
    }

    fn remove(&mut self, number: usize) -> Option<Arc<Seat>> {
        let seat = self.seats[number].take()?;
        self.free.push(number);
        for party in seat.parties.all() {
            if let Some(theirs) = self.parties.iter().position(|(it, _)| *it == party) {
                self.parties[theirs].1 -= 1;
                if self.parties[theirs].1 == 0 {
                    self.parties.swap_remove(theirs);
                }
            }
        }
        Some(seat)
    }
}

impl Seat {
    /// The first reason counts.
    fn tell(&self, why: Leave) {
        let _ = self.why.set(why);
        self.leave.notify_one();
    }

    fn silent_since(&self) -> u64 {
        self.silent_since.load(Ordering::Relaxed)
    }
}

impl Seated {
    /// Notes that the peer has its answer, or has said nothing yet.
    pub(crate) fn falls_silent(&self) {
        let now = self.crowd.tick();
        self.seat.silent_since.store(now, Ordering::Relaxed);
    }

    /// Notes that the peer has asked something.
    pub(crate) fn has_asked(&self) {
        self.seat.silent_since.store(BUSY, Ordering::Relaxed);
    }

    /// Returns why the peer has to leave, if it has to.
    pub(crate) fn why(&self) -> Option<Leave> {
        self.seat.why.get().copied()
    }

    /// Ends when the peer has to leave.
    pub(crate) async fn told_to_leave(&self) {
        self.seat.leave.notified().await;
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.crowd.lock().forget(&self.seat);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Crowd, Leave, Seated, Share};
    use crate::access::peer::{LeaseId, Peer};

    fn crowd(most: usize, share: Share) -> Arc<Crowd> {
        Arc::new(Crowd {
            most,
            ..Crowd::new(0, share)
        })
    }

    fn user(uid: u32) -> Peer {
        Peer::known(uid, &[], "")
    }

    fn must_leave(seated: &Seated) -> bool {
        seated.why() == Some(Leave::MakesRoom)
    }

    #[test]
    fn whoever_has_been_silent_for_longest_makes_room() {
        let crowd = crowd(3, Share::All);
        let admit = || crowd.admit(&user(1)).unwrap();
        let (first, second, third) = (admit(), admit(), admit());
        first.has_asked();
        first.falls_silent();
        let _fourth = admit();
        assert!(must_leave(&second));
        assert!(!must_leave(&first) && !must_leave(&third));
        drop(second);
        let _fifth = admit();
        assert!(must_leave(&third));
    }

    #[test]
    fn nobody_who_waits_for_an_answer_is_sent_away() {
        let crowd = crowd(2, Share::All);
        let two = [(); 2].map(|()| crowd.admit(&user(1)).unwrap());
        two.iter().for_each(Seated::has_asked);
        assert!(crowd.admit(&user(1)).is_none());
        assert!(!two.iter().any(must_leave));
        two[1].falls_silent();
        assert!(crowd.admit(&user(1)).is_some());
        assert!(must_leave(&two[1]) && !must_leave(&two[0]));
    }

    #[test]
    fn one_user_takes_no_more_than_a_half_and_makes_room_for_itself() {
        let crowd = crowd(4, Share::Half);
        let other = crowd.admit(&user(2)).unwrap();
        let greedy = [(); 2].map(|()| crowd.admit(&user(1)).unwrap());
        let _third = crowd.admit(&user(1)).unwrap();
        assert!(must_leave(&greedy[0]) && !must_leave(&other));
        let rest = [(); 1].map(|()| crowd.admit(&user(2)).unwrap());
        assert!(!must_leave(&other) && !must_leave(&rest[0]));
    }

    #[test]
    fn those_who_come_by_a_lease_have_a_share_of_their_own() {
        let crowd = crowd(32, Share::All);
        let leased = |number| {
            let mut peer = user(1);
            peer.lease = Some(LeaseId { number, owner: 1 });
            peer
        };
        let sandbox = [(); 2].map(|()| crowd.admit(&leased(7)).unwrap());
        sandbox.iter().for_each(Seated::has_asked);
        assert!(crowd.admit(&leased(7)).is_none());
        assert!(crowd.admit(&leased(8)).is_some());
        assert!(crowd.admit(&user(1)).is_some());
    }

    #[test]
    fn a_user_has_no_more_than_a_half_however_many_leases_it_holds() {
        let crowd = crowd(32, Share::Half);
        let mut held = Vec::new();
        for number in 0..20 {
            // Root, in a container of user 1.
            let mut peer = user(0);
            peer.lease = Some(LeaseId { number, owner: 1 });
            held.extend(crowd.admit(&peer).into_iter().inspect(Seated::has_asked));
        }
        assert_eq!(held.len(), 16);
        assert!(crowd.admit(&user(1)).is_none());
        assert!(crowd.admit(&user(2)).is_some() && crowd.admit(&user(0)).is_some());
        held.clear();
        let state = crowd.lock();
        assert!(state.seated().next().is_none() && state.parties.is_empty());
    }

    #[test]
    fn everybody_leaves_when_we_stop_and_whoever_came_by_a_lease_when_it_is_over() {
        let crowd = crowd(32, Share::All);
        let leased = |number| {
            let mut peer = user(1);
            peer.lease = Some(LeaseId { number, owner: 1 });
            crowd.admit(&peer).unwrap()
        };
        let (mine, seventh, eighth) = (crowd.admit(&user(1)).unwrap(), leased(7), leased(8));
        crowd.end_lease(7);
        assert_eq!(seventh.why(), Some(Leave::LeaseOver));
        assert_eq!((mine.why(), eighth.why()), (None, None));
        crowd.stop();
        let late = crowd.admit(&user(1)).unwrap();
        for seated in [&mine, &eighth, &late] {
            assert_eq!(seated.why(), Some(Leave::Stops));
        }
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let crowd = crowd(2, Share::Half);
        for _ in 0..100 {
            let seated = crowd.admit(&user(1)).unwrap();
            seated.has_asked();
        }
        let state = crowd.lock();
        assert!(state.seated().next().is_none() && state.parties.is_empty());
    }
}
