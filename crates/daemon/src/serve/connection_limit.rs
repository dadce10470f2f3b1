//! Limits connections. At the limit, the connections that have been idle longest are evicted; a
//! connection that waits for a reply never is.

use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use slab::Slab;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::{access::peer::Peer, runtime::sync};

/// Upper bound of the number of connections.
const MAX_CONNECTIONS: usize = 16 * 1024;

/// Minimum number of open files that are not for connections.
const RESERVED_FDS: u64 = 32;

/// Lower bound of the number of connections; `accept` fails with EMFILE if the system permits fewer.
const MIN_CONNECTIONS: usize = 16;

/// Divisor of all connections for the quota of one lease.
const LEASE_QUOTA_DIVISOR: usize = 16;

/// Divisor of the idle connections for the batch that one eviction closes: with a batch the scan
/// is not repeated for each new connection.
const EVICTION_DIVISOR: usize = 16;

/// The value of [`Tracked::idle_since`] for a connection that waits for a reply.
const IN_USE: u64 = 0;

/// The limit on the number of connections.
pub struct ConnectionLimiter {
    max_connections: usize,
    user_quota: UserQuota,
    /// A logical clock that orders idle connections.
    ticks: AtomicU64,
    state: Mutex<State>,
    /// Notified on every eviction; the event loop has no per-connection `Notify`.
    evictions: Notify,
    tasks: TaskTracker,
}

/// The share of all connections that one user may hold.
#[derive(Debug, Clone, Copy)]
pub enum UserQuota {
    /// All connections: a user's daemon has one user.
    All,
    /// Half of the connections: no user of a machine's daemon may exclude the other users.
    Half,
}

/// The connections that count towards one quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum QuotaKey {
    /// The connections of a user, and of all leases of that user.
    User(u32),
    /// The connections of one lease, by its number.
    Lease(u32),
}

/// The quotas of one peer.
#[derive(Debug, Clone, Copy)]
struct QuotaKeys {
    user: QuotaKey,
    lease: Option<QuotaKey>,
}

/// The reason for which the daemon closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The limit is reached, and the connection has been idle longest.
    Evicted,
    /// The lease of its socket has ended.
    LeaseEnded,
    /// The daemon stops.
    Shutdown,
}

#[derive(Default)]
struct State {
    is_stopping: bool,
    tracked: Slab<Arc<Tracked>>,
    /// The number of connections for each key that has any.
    counts: Vec<(QuotaKey, usize)>,
}

/// A connection that counts towards the limit.
struct Tracked {
    index: usize,
    keys: QuotaKeys,
    /// The tick at which the connection became idle, or [`IN_USE`].
    idle_since: AtomicU64,
    close_requested: Notify,
    close_reason: OnceLock<CloseReason>,
}

/// The right to hold one connection; returned when it is dropped.
pub(crate) struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    tracked: Arc<Tracked>,
}

impl ConnectionLimiter {
    /// Creates a limiter for a process that may have `open_files`, of which a quarter is reserved.
    #[must_use]
    pub fn new(open_files: u64, user_quota: UserQuota) -> Self {
        let reserved = (open_files / 4).max(RESERVED_FDS);
        let available = usize::try_from(open_files.saturating_sub(reserved));
        let available = available.unwrap_or(MAX_CONNECTIONS);
        Self {
            max_connections: available.clamp(MIN_CONNECTIONS, MAX_CONNECTIONS),
            user_quota,
            ticks: AtomicU64::new(IN_USE + 1),
            state: Mutex::default(),
            evictions: Notify::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Returns the tasks of all connections.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Returns `true` at the limit; evicted connections count until they are closed.
    pub(crate) fn is_full(&self) -> bool {
        self.tasks.len() >= self.max_connections
    }

    /// Returns a permit for a peer, after an eviction at the limit; `None` if no connection that
    /// could be evicted is idle.
    pub(crate) fn admit(self: &Arc<Self>, peer: &Peer) -> Option<ConnectionPermit> {
        let keys = QuotaKeys::of(peer);
        let mut state = self.lock();
        let mut is_below_limits = true;
        for key in keys.all() {
            if state.count(key) >= self.max_for(key) {
                is_below_limits &= state.evict_idle(|it| it.keys.all().any(|its| its == key));
                self.evictions.notify_one();
            }
        }
        if is_below_limits && state.tracked.len() >= self.max_connections {
            is_below_limits = state.evict_idle(|_| true);
            self.evictions.notify_one();
        }
        is_below_limits.then(|| ConnectionPermit {
            limiter: Arc::clone(self),
            tracked: state.track(keys, self.next_tick()),
        })
    }

    /// Waits until a connection has a close reason.
    pub(crate) async fn next_eviction(&self) {
        self.evictions.notified().await;
    }

    /// Requests that all connections close, also those that are admitted later.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.is_stopping = true;
        for (_, tracked) in &state.tracked {
            tracked.request_close(CloseReason::Shutdown);
        }
        self.evictions.notify_one();
    }

    /// Requests that the connections of a lease close.
    pub(crate) fn end_lease(&self, number: u32) {
        let state = self.lock();
        let key = Some(QuotaKey::Lease(number));
        for (_, tracked) in state.tracked.iter().filter(|(_, it)| it.keys.lease == key) {
            tracked.request_close(CloseReason::LeaseEnded);
        }
        self.evictions.notify_one();
    }

    /// Returns the maximum number of connections for a key.
    fn max_for(&self, key: QuotaKey) -> usize {
        match (key, self.user_quota) {
            // A sandbox must not exclude the other programs of its owner.
            (QuotaKey::Lease(_), _) => self.max_connections / LEASE_QUOTA_DIVISOR,
            (QuotaKey::User(_), UserQuota::Half) => self.max_connections / 2,
            (QuotaKey::User(_), UserQuota::All) => self.max_connections,
        }
        .max(1)
    }

    /// Returns the next tick. Not atomic on purpose: equal ticks only make the eviction order
    /// arbitrary.
    fn next_tick(&self) -> u64 {
        let tick = self.ticks.load(Ordering::Relaxed);
        self.ticks.store(tick + 1, Ordering::Relaxed);
        tick
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }
}

impl QuotaKeys {
    fn of(peer: &Peer) -> Self {
        let owner = peer.lease.map_or(peer.uid, |lease| lease.owner);
        Self {
            user: QuotaKey::User(owner),
            lease: peer.lease.map(|lease| QuotaKey::Lease(lease.number)),
        }
    }

    fn all(&self) -> impl Iterator<Item = QuotaKey> + use<> {
        [Some(self.user), self.lease].into_iter().flatten()
    }
}

impl State {
    fn count(&self, key: QuotaKey) -> usize {
        let count = self.counts.iter().find(|(it, _)| *it == key);
        count.map_or(0, |(_, count)| *count)
    }

    fn track(&mut self, keys: QuotaKeys, now: u64) -> Arc<Tracked> {
        for key in keys.all() {
            match self.counts.iter_mut().find(|(it, _)| *it == key) {
                Some((_, count)) => *count += 1,
                None => self.counts.push((key, 1)),
            }
        }
        let entry = self.tracked.vacant_entry();
        let tracked = Arc::new(Tracked {
            index: entry.key(),
            keys,
            idle_since: AtomicU64::new(now),
            close_requested: Notify::new(),
            close_reason: OnceLock::new(),
        });
        if self.is_stopping {
            tracked.request_close(CloseReason::Shutdown);
        }
        entry.insert(Arc::clone(&tracked));
        tracked
    }

    /// Evicts a sixteenth of the idle connections that match, the longest idle first. Returns
    /// `false` if none is idle.
    fn evict_idle(&mut self, matches: impl Fn(&Tracked) -> bool) -> bool {
        let idle_since = |it: &Tracked| Some(it.idle_since()).filter(|since| *since != IN_USE);
        let mut candidates: Vec<_> = self
            .tracked
            .iter()
            .filter(|(_, it)| matches(it))
            .filter_map(|(index, it)| Some((idle_since(it)?, index)))
            .collect();
        candidates.sort_unstable();
        let count = (candidates.len() / EVICTION_DIVISOR).max(1);
        for (_, index) in candidates.iter().take(count) {
            if let Some(tracked) = self.remove(*index) {
                tracked.request_close(CloseReason::Evicted);
            }
        }
        !candidates.is_empty()
    }

    /// Removes a connection that has closed. The index of an evicted one may belong to another.
    fn untrack(&mut self, tracked: &Arc<Tracked>) {
        let current = self.tracked.get(tracked.index);
        if current.is_some_and(|it| Arc::ptr_eq(it, tracked)) {
            self.remove(tracked.index);
        }
    }

    fn remove(&mut self, index: usize) -> Option<Arc<Tracked>> {
        let tracked = self.tracked.try_remove(index)?;
        for key in tracked.keys.all() {
            if let Some(position) = self.counts.iter().position(|(it, _)| *it == key) {
                self.counts[position].1 -= 1;
                if self.counts[position].1 == 0 {
                    self.counts.swap_remove(position);
                }
            }
        }
        Some(tracked)
    }
}

impl Tracked {
    /// Requests that the connection closes; the first reason counts.
    fn request_close(&self, reason: CloseReason) {
        let _ = self.close_reason.set(reason);
        self.close_requested.notify_one();
    }

    fn idle_since(&self) -> u64 {
        self.idle_since.load(Ordering::Relaxed)
    }
}

impl ConnectionPermit {
    /// Records that the connection waits for the next request.
    pub(crate) fn mark_idle(&self) {
        let now = self.limiter.next_tick();
        self.tracked.idle_since.store(now, Ordering::Relaxed);
    }

    /// Records that the connection waits for a reply.
    pub(crate) fn mark_busy(&self) {
        self.tracked.idle_since.store(IN_USE, Ordering::Relaxed);
    }

    /// Returns the reason for which the connection must close; `None` if it goes on.
    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.tracked.close_reason.get().copied()
    }

    /// Waits until the connection must close.
    pub(crate) async fn close_requested(&self) {
        self.tracked.close_requested.notified().await;
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limiter.lock().untrack(&self.tracked);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{CloseReason, ConnectionLimiter, ConnectionPermit, UserQuota};
    use crate::access::peer::{LeaseId, Peer};

    fn limiter(max_connections: usize, user_quota: UserQuota) -> Arc<ConnectionLimiter> {
        Arc::new(ConnectionLimiter {
            max_connections,
            ..ConnectionLimiter::new(0, user_quota)
        })
    }

    fn user(uid: u32) -> Peer {
        Peer::known(uid, &[], "")
    }

    fn is_evicted(permit: &ConnectionPermit) -> bool {
        permit.close_reason() == Some(CloseReason::Evicted)
    }

    #[test]
    fn longest_idle_connection_is_evicted() {
        let limiter = limiter(3, UserQuota::All);
        let admit = || limiter.admit(&user(1)).unwrap();
        let (first, second, third) = (admit(), admit(), admit());
        first.mark_busy();
        first.mark_idle();
        let _fourth = admit();
        assert!(is_evicted(&second));
        assert!(!is_evicted(&first) && !is_evicted(&third));
        drop(second);
        let _fifth = admit();
        assert!(is_evicted(&third));
    }

    #[test]
    fn connection_that_waits_for_a_reply_is_not_evicted() {
        let limiter = limiter(2, UserQuota::All);
        let two = [(); 2].map(|()| limiter.admit(&user(1)).unwrap());
        two.iter().for_each(ConnectionPermit::mark_busy);
        assert!(limiter.admit(&user(1)).is_none());
        assert!(!two.iter().any(is_evicted));
        two[1].mark_idle();
        assert!(limiter.admit(&user(1)).is_some());
        assert!(is_evicted(&two[1]) && !is_evicted(&two[0]));
    }

    #[test]
    fn user_at_its_half_evicts_its_own_connections() {
        let limiter = limiter(4, UserQuota::Half);
        let other = limiter.admit(&user(2)).unwrap();
        let greedy = [(); 2].map(|()| limiter.admit(&user(1)).unwrap());
        let _third = limiter.admit(&user(1)).unwrap();
        assert!(is_evicted(&greedy[0]) && !is_evicted(&other));
        let rest = [(); 1].map(|()| limiter.admit(&user(2)).unwrap());
        assert!(!is_evicted(&other) && !is_evicted(&rest[0]));
    }

    #[test]
    fn lease_has_a_quota_of_its_own() {
        let limiter = limiter(32, UserQuota::All);
        let leased = |number| {
            let mut peer = user(1);
            peer.lease = Some(LeaseId { number, owner: 1 });
            peer
        };
        let sandbox = [(); 2].map(|()| limiter.admit(&leased(7)).unwrap());
        sandbox.iter().for_each(ConnectionPermit::mark_busy);
        assert!(limiter.admit(&leased(7)).is_none());
        assert!(limiter.admit(&leased(8)).is_some());
        assert!(limiter.admit(&user(1)).is_some());
    }

    #[test]
    fn leases_count_towards_the_quota_of_their_user() {
        let limiter = limiter(32, UserQuota::Half);
        let mut held = Vec::new();
        for number in 0..20 {
            // Root, in a container of user 1.
            let mut peer = user(0);
            peer.lease = Some(LeaseId { number, owner: 1 });
            held.extend(
                limiter
                    .admit(&peer)
                    .into_iter()
                    .inspect(ConnectionPermit::mark_busy),
            );
        }
        assert_eq!(held.len(), 16);
        assert!(limiter.admit(&user(1)).is_none());
        assert!(limiter.admit(&user(2)).is_some() && limiter.admit(&user(0)).is_some());
        held.clear();
        let state = limiter.lock();
        assert!(state.tracked.is_empty() && state.counts.is_empty());
    }

    #[test]
    fn stop_and_lease_end_set_close_reasons() {
        let limiter = limiter(32, UserQuota::All);
        let leased = |number| {
            let mut peer = user(1);
            peer.lease = Some(LeaseId { number, owner: 1 });
            limiter.admit(&peer).unwrap()
        };
        let (mine, seventh, eighth) = (limiter.admit(&user(1)).unwrap(), leased(7), leased(8));
        limiter.end_lease(7);
        assert_eq!(seventh.close_reason(), Some(CloseReason::LeaseEnded));
        assert_eq!((mine.close_reason(), eighth.close_reason()), (None, None));
        limiter.stop();
        let late = limiter.admit(&user(1)).unwrap();
        for permit in [&mine, &eighth, &late] {
            assert_eq!(permit.close_reason(), Some(CloseReason::Shutdown));
        }
    }

    #[test]
    fn closed_connections_do_not_count() {
        let limiter = limiter(2, UserQuota::Half);
        for _ in 0..100 {
            let permit = limiter.admit(&user(1)).unwrap();
            permit.mark_busy();
        }
        let state = limiter.lock();
        assert!(state.tracked.is_empty() && state.counts.is_empty());
    }
}
