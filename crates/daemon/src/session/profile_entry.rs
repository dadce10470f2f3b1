//! The entry of a profile: its task publishes the snapshots there; all other tasks read or wait.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::{
    profile::{Profile, SessionDuration},
    runtime::clock::{BootTime, Clock},
    session::{
        counters::Counters,
        last_access::LastAccessCell,
        lifetime::Lifetime,
        snapshot::{Session, SessionResult, Snapshot, WaitingFor},
    },
};

/// The state of one profile.
pub struct ProfileEntry {
    /// The profile.
    pub profile: Arc<Profile>,
    /// Wakes the task of the profile.
    pub wake: Notify,
    /// The end of the lease; `None` for a configured profile. No session needs to outlive it.
    pub until: Option<BootTime>,
    /// A refresh was requested that does not wait for the schedule.
    pub forced: AtomicBool,
    /// The statistics of the name, which a reload keeps.
    pub stats: Arc<ProfileStats>,
    /// The number of waiting callers.
    waiters: AtomicUsize,
    last_asked_millis: AtomicU64,
    snapshot: watch::Sender<Snapshot>,
}

/// A subscription to the snapshots of a profile.
pub struct Subscription {
    snapshots: watch::Receiver<Snapshot>,
    /// Keeps the sender alive: a receiver without a sender does not wait.
    _entry: Arc<ProfileEntry>,
}

/// The statistics of a profile name, which outlive a change of the profile.
#[derive(Default)]
pub struct ProfileStats {
    /// The counters.
    pub counters: Counters,
    /// The last access.
    pub last_access: LastAccessCell,
}

impl ProfileEntry {
    /// Returns the entry of a profile without a session.
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

    /// Returns the entry of a profile that a reload has changed. The statistics are kept;
    /// `session`, which must grant the rights of the new profile, is served until its renewal.
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

    /// Returns the entry of a lease.
    #[must_use]
    pub fn for_lease(profile: Arc<Profile>, until: BootTime) -> Self {
        Self {
            until: Some(until),
            ..Self::new(profile)
        }
    }

    /// Returns the entry of a profile with a session of the previous process; `asked` is the time
    /// of the last access.
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

    /// Returns the duration of the next session: for a lease not much longer than the rest of the
    /// lease.
    #[must_use]
    pub fn duration(&self, now: BootTime) -> SessionDuration {
        let duration = self.profile.duration;
        match self.until {
            Some(until) => duration.for_remaining(until.since(now)),
            None => duration,
        }
    }

    /// Returns `true` if a session lasts until the end of the lease, and needs no renewal.
    #[must_use]
    pub fn covers_lease(&self, lifetime: &Lifetime) -> bool {
        self.until.is_some_and(|until| lifetime.ends >= until)
    }

    /// Returns the session in memory if it is valid for at least `minimum_life`. Nearly every
    /// request needs no more.
    #[must_use]
    pub fn current(&self, minimum_life: Duration, now: BootTime) -> Option<Arc<Session>> {
        self.mark_used(now);
        let snapshot = self.snapshot.borrow();
        // An idle profile serves its present session, and its task plans the next renewal.
        if snapshot.next_attempt.is_none() {
            self.wake.notify_one();
        }
        snapshot.usable_for(minimum_life, now).cloned()
    }

    /// Waits for a session that is valid for at least `minimum_life`, for `patience` at most. Wakes
    /// the task of the profile, which calls STS; a dropped wait cancels no call.
    pub async fn wait_for(
        &self,
        minimum_life: Duration,
        patience: Duration,
        clock: &dyn Clock,
    ) -> SessionResult {
        let _waiter = WaiterGuard::new(&self.waiters);
        let mut snapshots = self.snapshot.subscribe();
        let final_result = async {
            loop {
                // The lock ends with the statement.
                let result = snapshots
                    .borrow_and_update()
                    .result_now(minimum_life, clock.boot());
                match result {
                    Some(result) => return result,
                    None => self.wake.notify_one(),
                }
                snapshots.changed().await.expect("self has the sender");
            }
        };
        let result = timeout(patience, final_result).await;
        // The machine may have been suspended: the access counts at the end of the wait as well.
        self.mark_used(clock.boot());
        match result {
            Ok(result) => result,
            Err(_) => self.snapshot.borrow().best_available(clock.boot()),
        }
    }

    /// Requests a refresh, and waits until an attempt that begins after the call has ended.
    ///
    /// # Errors
    /// The failure of the attempt, or the best available result after `patience`.
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

    /// Requests a refresh that does not wait for the schedule.
    pub fn force_refresh(&self) {
        self.forced.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Subscribes to the snapshots of this profile.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>) -> Subscription {
        Subscription {
            snapshots: self.snapshot.subscribe(),
            _entry: Arc::clone(self),
        }
    }

    /// Returns the latest snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }

    /// Changes the snapshot and notifies all waiters. Called by the task of the profile and by a
    /// reload only.
    pub fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshot.send_modify(change);
    }

    /// Sets the next attempt without notifying waiters.
    pub fn set_next_attempt(&self, next_attempt: Option<(BootTime, &'static str)>) {
        self.update_silently(|snapshot| snapshot.next_attempt = next_attempt);
    }

    /// Sets or clears the export error without notifying waiters.
    pub fn set_export_error(&self, error: Option<&'static str>) {
        self.update_silently(|snapshot| snapshot.export_error = error);
    }

    /// Records the beginning of an attempt, which answers all refresh requests until then.
    pub fn attempt_started(&self, now: BootTime) {
        self.forced.store(false, Ordering::Relaxed);
        self.update_silently(|snapshot| {
            snapshot.begun += 1;
            snapshot.next_attempt = Some((now, "renewal under way"));
        });
    }

    /// Records the party from which the attempt waits for an answer, for callers that have no session.
    pub fn waiting_for(&self, subject: impl FnOnce() -> String, now: BootTime) {
        let has_session = |it: &Snapshot| it.usable_for(Duration::ZERO, now).is_some();
        if has_session(&self.snapshot.borrow()) {
            return;
        }
        let waiting_for = Arc::new(WaitingFor {
            subject: subject(),
            since: now,
        });
        self.update_silently(|snapshot| snapshot.waiting_for = Some(waiting_for));
    }

    /// Records that the attempt waits for no other party.
    pub fn waits_no_more(&self) {
        self.update_silently(|snapshot| snapshot.waiting_for = None);
    }

    /// Changes the snapshot without notifying waiters.
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

    /// Returns `true` if a caller waits for the next session or watches the profile: a watch keeps
    /// a profile from idling.
    #[must_use]
    pub fn has_followers(&self) -> bool {
        self.snapshot.receiver_count() > 0
    }

    /// Counts served credentials.
    pub fn count_served(&self, session: &Session) {
        let counters = &self.stats.counters;
        counters.count_served();
        // Read before the write, so that the cache line stays shared after the first time.
        if !session.served.load(Ordering::Relaxed) && !session.served.swap(true, Ordering::Relaxed)
        {
            counters.count_served_session();
        }
    }

    fn mark_used(&self, now: BootTime) {
        self.last_asked_millis
            .store(now.as_millis(), Ordering::Relaxed);
    }

    /// Returns the time of the last request.
    #[must_use]
    pub fn last_asked(&self) -> BootTime {
        BootTime::from_millis(self.last_asked_millis.load(Ordering::Relaxed))
    }

    /// Returns the time since the last request.
    #[must_use]
    pub fn time_since_request(&self, now: BootTime) -> Duration {
        now.since(self.last_asked())
    }
}

impl Subscription {
    /// Returns the latest snapshot, and marks it as seen.
    ///
    /// The snapshot is locked until the reference is dropped, which must be before the next
    /// `await`.
    pub fn latest(&mut self) -> watch::Ref<'_, Snapshot> {
        self.snapshots.borrow_and_update()
    }

    /// Waits for a change since the snapshot that was seen last.
    pub async fn changed(&mut self) {
        let changed = self.snapshots.changed().await;
        changed.expect("the entry has the sender");
    }

    /// Waits for a snapshot that matches.
    pub async fn wait_for(&mut self, matches: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let snapshot = self.snapshots.wait_for(matches).await;
        snapshot.expect("the entry has the sender").clone()
    }
}

/// Counts a waiting caller until it is dropped.
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
    fn subscription_is_notified_of_published_changes_only() {
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
        let latest = changes.latest().clone();
        assert_eq!((latest.begun, latest.ended), (1, 1));
        assert_eq!(latest.export_error, Some("the file is not written"));
        // A change before the wait ends the wait at once.
        entry.publish(|it| it.removed = true);
        assert!(pin!(changes.changed()).poll(&mut context).is_ready());
        drop(changes);
        assert!(!entry.has_followers());
    }
}
