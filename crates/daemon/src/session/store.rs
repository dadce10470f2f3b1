//! Decides where a profile's snapshot is found: a name leads to its [`ProfileEntry`]. The
//! profile's own task publishes there; everybody else reads or waits.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::{
    profile::{Profile, ProfileName, SessionDuration},
    runtime::{
        clock::{BootTime, Clock},
        sync,
    },
    session::{
        counters::Counters,
        last_access::LastAccessCell,
        lifetime::Lifetime,
        snapshot::{Session, SessionResult, Snapshot},
    },
};

/// One profile's place in the store.
pub struct ProfileEntry {
    /// What the profile is.
    pub profile: Arc<Profile>,
    /// Wakes the profile's task.
    pub wake: Notify,
    /// When nobody asks any more, for a lease. No session needs to outlive it.
    pub until: Option<BootTime>,
    /// Set when a human asked for a renewal whatever the schedule says.
    pub forced: AtomicBool,
    /// What goes on under this name when a reload changes what it is.
    pub stats: Arc<ProfileStats>,
    /// How many callers wait now.
    waiters: AtomicUsize,
    last_asked_millis: AtomicU64,
    snapshot: watch::Sender<Snapshot>,
}

/// A subscription to the snapshots of a profile.
pub struct Subscription {
    snapshots: watch::Receiver<Snapshot>,
    /// Has the sender: without one, no receiver waits.
    _entry: Arc<ProfileEntry>,
}

/// What is known of a name, whatever profile has it.
#[derive(Default)]
pub struct ProfileStats {
    /// What has been counted.
    pub counters: Counters,
    /// Who asked last.
    pub last_access: LastAccessCell,
}

/// All profiles, by name.
pub struct Store {
    entries: RwLock<BTreeMap<ProfileName, Arc<ProfileEntry>>>,
    /// Rings when the entries were replaced.
    replaced: watch::Sender<()>,
    encode: fn(&mut Session),
}

impl ProfileEntry {
    /// Makes a place for a profile that nobody has asked for yet.
    #[must_use]
    pub fn new(profile: Arc<Profile>) -> Self {
        Self {
            profile,
            until: None,
            wake: Notify::new(),
            forced: AtomicBool::new(false),
            stats: Arc::default(),
            waiters: AtomicUsize::new(0),
            last_asked_millis: AtomicU64::new(0),
            snapshot: watch::Sender::default(),
        }
    }

    /// Makes the place of a profile that a reload has changed. What was counted goes on;
    /// `session`, if it grants what the new profile grants, is served until its renewal.
    #[must_use]
    pub fn from_previous(profile: Arc<Profile>, old: &Self, session: Option<Arc<Session>>) -> Self {
        let last_asked = old.last_asked_millis.load(Ordering::Relaxed);
        Self {
            stats: Arc::clone(&old.stats),
            last_asked_millis: AtomicU64::new(last_asked),
            snapshot: watch::Sender::new(Snapshot {
                session,
                ..Snapshot::default()
            }),
            ..Self::new(profile)
        }
    }

    /// Makes the place of a lease.
    #[must_use]
    pub fn for_lease(profile: Arc<Profile>, until: BootTime) -> Self {
        Self {
            until: Some(until),
            ..Self::new(profile)
        }
    }

    /// Makes the place of a profile whose session another process of ours has left.
    #[must_use]
    pub fn from_saved(profile: Arc<Profile>, session: Session, asked: BootTime) -> Self {
        Self {
            last_asked_millis: AtomicU64::new(asked.as_millis()),
            snapshot: watch::Sender::new(Snapshot {
                session: Some(Arc::new(session)),
                ..Snapshot::default()
            }),
            ..Self::new(profile)
        }
    }

    /// Returns how long the next session is asked to live: no longer than it is of use.
    #[must_use]
    pub fn duration(&self, now: BootTime) -> SessionDuration {
        let duration = self.profile.duration;
        match self.until {
            Some(until) => duration.for_remaining(until.since(now)),
            None => duration,
        }
    }

    /// Tells whether a session with this life needs no successor.
    #[must_use]
    pub fn covers_lease(&self, lifetime: &Lifetime) -> bool {
        self.until.is_some_and(|until| lifetime.ends >= until)
    }

    /// Returns a session that lives at least `minimum_life`, from memory: the whole of an
    /// ordinary hand-out.
    #[must_use]
    pub fn current(&self, minimum_life: Duration, now: BootTime) -> Option<Arc<Session>> {
        self.mark_used(now);
        let snapshot = self.snapshot.borrow();
        // A profile that sleeps serves what it has left, and is woken for the next one.
        if snapshot.next_attempt.is_none() {
            self.wake.notify_one();
        }
        snapshot.usable_for(minimum_life, now).cloned()
    }

    /// Waits for a session that lives at least `minimum_life`, for `patience` at the most.
    /// Wakes the profile's task; never calls the cloud itself, and cancels nothing when
    /// it is dropped.
    pub async fn wait_for(
        &self,
        minimum_life: Duration,
        patience: Duration,
        clock: &dyn Clock,
    ) -> SessionResult {
        let _waiter = WaiterGuard::new(&self.waiters);
        let mut snapshots = self.snapshot.subscribe();
        let settled = async {
            loop {
                // The lock ends with the statement.
                let settled = snapshots
                    .borrow_and_update()
                    .result_now(minimum_life, clock.boot());
                match settled {
                    Some(outcome) => return outcome,
                    None => self.wake.notify_one(),
                }
                snapshots.changed().await.expect("self has the sender");
            }
        };
        let settled = timeout(patience, settled).await;
        // A caller whose machine slept while it waited is in need now, not when it asked.
        self.mark_used(clock.boot());
        match settled {
            Ok(outcome) => outcome,
            Err(_) => self.snapshot.borrow().best_available(clock.boot()),
        }
    }

    /// Asks for a renewal now and waits until an attempt that begins from now on has ended.
    ///
    /// # Errors
    /// What stands in its place: the failure, or that the patience ran out first.
    pub async fn refresh(
        &self,
        patience: Duration,
        clock: &dyn Clock,
    ) -> Result<(), SessionResult> {
        let _waiter = WaiterGuard::new(&self.waiters);
        let mut snapshots = self.snapshot.subscribe();
        let begun = snapshots.borrow().begun;
        self.force_refresh();
        let ended = snapshots.wait_for(|it| it.ended > begun || it.removed);
        let ended = timeout(patience, ended).await.is_ok();
        let snapshot = self.snapshot.borrow();
        match &snapshot.failed {
            _ if snapshot.removed => Err(SessionResult::Removed),
            Some(failed) if ended => Err(SessionResult::Failed(Arc::clone(failed))),
            None if ended => Ok(()),
            _ => Err(snapshot.best_available(clock.boot())),
        }
    }

    /// Makes the profile's task attempt a renewal whatever its schedule says.
    pub fn force_refresh(&self) {
        self.forced.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Follows the snapshots of this profile.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>) -> Subscription {
        Subscription {
            snapshots: self.snapshot.subscribe(),
            _entry: Arc::clone(self),
        }
    }

    /// Returns what is known now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }

    /// Changes what is known; only the profile's own task and a reload do.
    pub fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshot.send_modify(change);
    }

    /// Says what is planned, without waking those who wait for a session.
    pub fn set_next_attempt(&self, next_attempt: Option<(BootTime, &'static str)>) {
        self.update_silently(|snapshot| snapshot.next_attempt = next_attempt);
    }

    /// Says what is wrong with what becomes of the sessions, if anything, without waking those
    /// who wait for one.
    pub fn set_export_error(&self, error: Option<&'static str>) {
        self.update_silently(|snapshot| snapshot.export_error = error);
    }

    /// Notes that an attempt begins now; it is what was asked for until this moment.
    pub fn attempt_started(&self, now: BootTime) {
        self.forced.store(false, Ordering::Relaxed);
        self.update_silently(|snapshot| {
            snapshot.begun += 1;
            snapshot.next_attempt = Some((now, "renewal under way"));
        });
    }

    /// Changes what no subscription waits for.
    fn update_silently(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshot.send_if_modified(|snapshot| {
            change(snapshot);
            false
        });
    }

    /// Returns `true` if a caller waits for the next session.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::Relaxed) > 0
    }

    /// Is true while a caller waits for the next session, or for each: a watch is use,
    /// however rarely there is news for it.
    #[must_use]
    pub fn has_followers(&self) -> bool {
        self.snapshot.receiver_count() > 0
    }

    /// Counts one hand-out of a session.
    pub fn count_served(&self, session: &Session) {
        // A look before the write: after the first hand-out the line stays shared.
        let first = !session.served.load(Ordering::Relaxed)
            && !session.served.swap(true, Ordering::Relaxed);
        self.stats.counters.served(first);
    }

    fn mark_used(&self, now: BootTime) {
        self.last_asked_millis
            .store(now.as_millis(), Ordering::Relaxed);
    }

    /// Returns when somebody asked last.
    #[must_use]
    pub fn last_asked(&self) -> BootTime {
        BootTime::from_millis(self.last_asked_millis.load(Ordering::Relaxed))
    }

    /// Returns how long ago somebody asked.
    #[must_use]
    pub fn idle(&self, now: BootTime) -> Duration {
        now.since(self.last_asked())
    }
}

impl Subscription {
    /// Returns what is known now; nothing older is news from here on.
    ///
    /// The snapshot is locked until the reference is dropped, which must be before the next
    /// `await`.
    pub fn latest(&mut self) -> watch::Ref<'_, Snapshot> {
        self.snapshots.borrow_and_update()
    }

    /// Ends when there is news.
    pub async fn changed(&mut self) {
        let changed = self.snapshots.changed().await;
        changed.expect("the entry has the sender");
    }

    /// Waits for a snapshot of which something is true.
    pub async fn wait_for(&mut self, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let snapshot = self.snapshots.wait_for(wanted).await;
        snapshot.expect("the entry has the sender").clone()
    }
}

/// One caller more, until it has its answer or has left.
struct WaiterGuard<'a>(&'a AtomicUsize);

impl<'a> WaiterGuard<'a> {
    fn new(waiters: &'a AtomicUsize) -> Self {
        waiters.fetch_add(1, Ordering::Relaxed);
        Self(waiters)
    }
}

impl Drop for WaiterGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::with_encoder(|_| {})
    }
}

impl Store {
    /// Makes one without a profile. `prepare` is what is done to each session before anybody
    /// has it.
    #[must_use]
    pub fn with_encoder(encode: fn(&mut Session)) -> Self {
        Self {
            entries: RwLock::default(),
            replaced: watch::Sender::default(),
            encode,
        }
    }

    /// Prepares a session that is about to be published.
    #[must_use]
    pub fn prepare(&self, mut session: Session) -> Session {
        (self.encode)(&mut session);
        session
    }

    /// Hands out a session of a profile that lives at least `minimum_life`: from memory
    /// where there is one, else after waiting for `patience` at the most. A reload that
    /// changes the profile meanwhile costs the caller nothing but the wait;
    /// [`SessionResult::Removed`] means that there is no such profile. `allowed` is asked again
    /// after each reload that the caller waits through, and before anything is done for it.
    /// The profile's place comes along, unless the caller may not know of it.
    pub async fn serve(
        &self,
        profile: &str,
        minimum_life: Duration,
        patience: Duration,
        clock: &dyn Clock,
        allowed: impl Fn(&Profile) -> bool,
    ) -> (SessionResult, Option<Arc<ProfileEntry>>) {
        let request = (minimum_life, patience);
        let (outcome, entry) = self.look_up(profile, request, clock, allowed).await;
        if let (SessionResult::Ready(session) | SessionResult::Short(session), Some(entry)) =
            (&outcome, &entry)
        {
            entry.count_served(session);
        }
        (outcome, entry)
    }

    /// Returns a session of a profile as serve(Self::serve) does, to ourselves: for
    /// a profile whose source it is.
    pub async fn session(
        &self,
        profile: &str,
        minimum_life: Duration,
        patience: Duration,
        clock: &dyn Clock,
    ) -> SessionResult {
        let request = (minimum_life, patience);
        self.look_up(profile, request, clock, |_| true).await.0
    }

    async fn look_up(
        &self,
        profile: &str,
        (minimum_life, patience): (Duration, Duration),
        clock: &dyn Clock,
        allowed: impl Fn(&Profile) -> bool,
    ) -> (SessionResult, Option<Arc<ProfileEntry>>) {
        let began = clock.boot();
        while let Some(entry) = self.find(profile) {
            if !allowed(&entry.profile) {
                return (SessionResult::NotAllowed, None);
            }
            let now = clock.boot();
            let outcome = match entry.current(minimum_life, now) {
                Some(session) => SessionResult::Ready(session),
                None => {
                    let left = patience.saturating_sub(now.since(began));
                    entry.wait_for(minimum_life, left, clock).await
                }
            };
            if !matches!(outcome, SessionResult::Removed) {
                return (outcome, Some(entry));
            }
        }
        (SessionResult::Removed, None)
    }

    /// Asks for a renewal of a profile now, and waits until an attempt that begins from now
    /// on has ended, whatever a reload changes meanwhile.
    ///
    /// # Errors
    /// As [`ProfileEntry::refresh`]; [`SessionResult::Removed`] means that there is no such profile.
    pub async fn refresh(
        &self,
        profile: &str,
        patience: Duration,
        clock: &dyn Clock,
    ) -> Result<(), SessionResult> {
        let began = clock.boot();
        while let Some(entry) = self.find(profile) {
            let left = patience.saturating_sub(clock.boot().since(began));
            match entry.refresh(left, clock).await {
                Err(SessionResult::Removed) => {}
                outcome => return outcome,
            }
        }
        Err(SessionResult::Removed)
    }

    /// Returns the place of a profile.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<ProfileEntry>> {
        self.read().get(name).cloned()
    }

    /// Returns every place, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<ProfileEntry>> {
        self.read().values().cloned().collect()
    }

    /// Puts the profiles of a new configuration in place of the old ones, at once.
    pub fn replace(&self, entries: impl IntoIterator<Item = Arc<ProfileEntry>>) {
        let new = entries
            .into_iter()
            .map(|entry| (entry.profile.name.clone(), entry))
            .collect();
        *sync::write(&self.entries) = new;
        self.replaced.send_replace(());
    }

    /// Follows the replacements.
    #[must_use]
    pub fn replacements(&self) -> watch::Receiver<()> {
        self.replaced.subscribe()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<ProfileName, Arc<ProfileEntry>>> {
        sync::read(&self.entries)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future as _,
        pin::pin,
        sync::Arc,
        task::{Context, Poll, Waker},
    };

    use super::ProfileEntry;
    use crate::{profile::Profile, runtime::clock::BootTime};

    #[test]
    fn a_subscription_hears_what_is_published_and_nothing_quiet() {
        let entry = Arc::new(ProfileEntry::new(Arc::new(Profile::sample())));
        assert!(!entry.has_followers());
        let mut changes = entry.subscribe();
        assert!(entry.has_followers());
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut changed = pin!(changes.changed());
            entry.attempt_started(BootTime::from_millis(1));
            entry.set_next_attempt(None);
            entry.set_export_error(Some("the file is not written"));
            assert_eq!(changed.as_mut().poll(&mut context), Poll::Pending);
            entry.publish(|it| it.ended += 1);
            assert_eq!(changed.poll(&mut context), Poll::Ready(()));
        }
        let known = changes.latest().clone();
        assert_eq!((known.begun, known.ended), (1, 1));
        assert_eq!(known.export_error, Some("the file is not written"));
        // A change before the wait ends it at once.
        entry.publish(|it| it.removed = true);
        assert!(pin!(changes.changed()).poll(&mut context).is_ready());
        drop(changes);
        assert!(!entry.has_followers());
    }
}
