//! Limits connections and the bytes in their buffers. At the limit, the connections that have been
//! idle longest are evicted; without an idle one, a user with few connections displaces some that
//! watch or wait, of a user with more.

mod buffers;
mod holds;
mod quota;
mod table;
#[cfg(test)]
mod tests;
mod tracked;

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

pub use self::quota::UserQuota;
pub(crate) use self::{
    quota::Transport,
    tracked::{Activity, CloseReason},
};
use self::{
    quota::{ConnectionKeys, QuotaKey, Quotas},
    table::{HoldOutcome, Table},
    tracked::Tracked,
};
use crate::{access::peer::Peer, profile::Rule, runtime::sync};

/// The limit on the number of connections, and on the bytes in their buffers.
pub struct ConnectionLimiter {
    quotas: Quotas,
    /// A logical clock that orders the connections of one activity.
    ticks: AtomicU64,
    table: Mutex<Table>,
    /// Notified on every eviction; the event loop has no per-connection `Notify`.
    evictions: Notify,
    /// Notified when most connections of a peak have ended.
    peak_ended: Notify,
    tasks: TaskTracker,
}

/// The right to hold one connection; returned when it is dropped.
pub(crate) struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    tracked: Arc<Tracked>,
}

/// The signal that a connection must close.
pub(crate) struct CloseSignal(Arc<Tracked>);

impl ConnectionLimiter {
    /// Creates a limiter for a process that may have `open_files`, of which a quarter is reserved.
    #[must_use]
    pub fn new(open_files: u64, user_quota: UserQuota) -> Self {
        Self {
            quotas: Quotas::new(open_files, user_quota),
            ticks: AtomicU64::new(1),
            table: Mutex::default(),
            evictions: Notify::new(),
            peak_ended: Notify::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Returns the tasks of all connections.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Returns `true` at the limit; evicted connections count until they are closed.
    pub(crate) fn is_full(&self) -> bool {
        self.tasks.len() >= self.quotas.shared()
    }

    /// Returns a permit for a peer, after an eviction at the limit; `None` if no connection may be
    /// evicted for the peer's user.
    pub(crate) fn admit(
        self: &Arc<Self>,
        peer: &Peer,
        transport: Transport,
    ) -> Option<ConnectionPermit> {
        let keys = ConnectionKeys::of(peer, transport);
        let mut table = self.lock();
        let mut is_below_limits = true;
        for key in keys.all() {
            if table.count(key) >= self.quotas.max_for(key) {
                is_below_limits &= table.displace(&keys, Some(key));
                self.evictions.notify_one();
            }
        }
        let held = table.count(QuotaKey::User(keys.user));
        if is_below_limits && table.len() >= self.quotas.max_for_user_with(held) {
            is_below_limits = table.displace(&keys, None);
            self.evictions.notify_one();
        }
        is_below_limits.then(|| ConnectionPermit {
            limiter: Arc::clone(self),
            tracked: table.track(keys, self.next_tick()),
        })
    }

    /// Returns the number of connections that hold a permit.
    pub(crate) fn connections(&self) -> usize {
        self.lock().len()
    }

    /// Waits until a connection has a close reason.
    pub(crate) async fn next_eviction(&self) {
        self.evictions.notified().await;
    }

    /// Returns the slots of the connections that were evicted since the last call.
    pub(crate) fn take_evicted(&self) -> Vec<usize> {
        self.lock().take_evicted()
    }

    /// Waits until most connections of a peak have ended.
    pub(crate) async fn peak_ended(&self) {
        self.peak_ended.notified().await;
    }

    /// Returns the memory of ended connections.
    pub(crate) fn shrink(&self) {
        self.lock().shrink();
    }

    /// Requests that all connections close, also those that are admitted later.
    pub(crate) fn stop(&self) {
        let mut table = self.lock();
        table.is_stopping = true;
        table.close_where(|_| true, CloseReason::Shutdown);
        self.evictions.notify_one();
    }

    /// Requests that the connections of a lease close.
    pub(crate) fn end_lease(&self, number: u32) {
        let is_of_lease = |it: &Tracked| it.keys.is_of_lease(number);
        self.lock()
            .close_where(is_of_lease, CloseReason::LeaseEnded);
        self.evictions.notify_one();
    }

    /// Returns the next tick. Not atomic on purpose: equal ticks only make the eviction order
    /// arbitrary.
    fn next_tick(&self) -> u64 {
        let tick = self.ticks.load(Ordering::Relaxed);
        self.ticks.store(tick + 1, Ordering::Relaxed);
        tick
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        sync::lock(&self.table)
    }
}

impl ConnectionPermit {
    /// Records that the connection waits for the next request.
    pub(crate) fn mark_idle(&self) {
        if self.tracked.holds() {
            self.limiter.lock().release(&self.tracked);
        }
        self.begin(Activity::Idle);
    }

    /// Records an activity that begins now, unless it has begun already.
    pub(crate) fn mark(&self, activity: Activity) {
        if self.tracked.activity() != activity {
            self.begin(activity);
        }
    }

    fn begin(&self, activity: Activity) {
        self.tracked.begin(activity, self.limiter.next_tick());
    }

    /// Records that the connection waits for a session because of a rule. Returns `false` if too
    /// many connections wait or watch because of that rule.
    pub(crate) fn wait_by(&self, rule: Option<&Rule>) -> bool {
        self.hold(Activity::Waiting, rule, None)
    }

    /// Records that the connection watches a profile because of a rule. Returns `false` if too many
    /// connections wait or watch because of that rule, or the user holds too many watches.
    pub(crate) fn watch_by(&self, rule: Option<&Rule>) -> bool {
        let max_watches = self.limiter.quotas.max_watches();
        self.hold(Activity::Watching, rule, max_watches)
    }

    fn hold(&self, activity: Activity, rule: Option<&Rule>, max_watches: Option<usize>) -> bool {
        if let Some(max_for_rule) = self.limiter.quotas.max_for_rule() {
            let mut table = self.limiter.lock();
            let now = self.limiter.next_tick();
            match table.hold(&self.tracked, rule, max_for_rule, max_watches, now) {
                HoldOutcome::Held => {}
                HoldOutcome::Displaced => self.limiter.evictions.notify_one(),
                HoldOutcome::Refused => return false,
            }
        }
        self.mark(activity);
        true
    }

    /// Records the slot of the connection in the event loop.
    pub(crate) fn set_slot(&self, slot: usize) {
        self.tracked.set_slot(slot);
    }

    /// Records the number of bytes in the connection's buffers. Beyond a limit, the oldest
    /// connections with such bytes are closed, of the user that has most of them.
    pub(crate) fn set_buffered(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        // Nearly every request is read, and nearly every reply is written, without a buffer.
        if bytes == self.tracked.buffered() {
            return;
        }
        if self.limiter.lock().set_buffered(&self.tracked, bytes) {
            self.limiter.evictions.notify_one();
        }
    }

    /// Returns the reason for which the connection must close; `None` if it goes on.
    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.tracked.close_reason()
    }

    /// Returns the signal that the connection must close.
    pub(crate) fn close_signal(&self) -> CloseSignal {
        CloseSignal(Arc::clone(&self.tracked))
    }
}

impl CloseSignal {
    /// Waits until the connection must close.
    pub(crate) async fn requested(&self) {
        self.0.close_requested.notified().await;
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut table = self.limiter.lock();
        table.untrack(&self.tracked);
        if table.take_ended_peak() {
            self.limiter.peak_ended.notify_one();
        }
    }
}
