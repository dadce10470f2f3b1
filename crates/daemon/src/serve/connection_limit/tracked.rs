//! One connection that counts towards the limit.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use tokio::sync::Notify;

use super::quota::ConnectionKeys;

/// Bits of [`Tracked::activity`] below the tick.
const FLAG_BITS: u32 = 3;

/// The flag of a connection that counts as a holder of its rule.
const HOLD_FLAG: u64 = 1 << 2;

/// The slot of a connection that the event loop does not know.
const NO_SLOT: u32 = u32::MAX;

/// The activity of a connection. Evictions take the lesser activity first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Activity {
    /// The connection waits for the next request.
    Idle = 0,
    /// The connection watches a profile.
    Watching = 1,
    /// The connection waits for a reply.
    Waiting = 2,
    /// The connection holds a lease, and is never evicted.
    Leasing = 3,
}

/// The reason for which the daemon closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The limit is reached, and the connection has been idle longest.
    Evicted,
    /// The limit is reached, and the user of the connection holds more connections than the user of
    /// another one.
    Displaced,
    /// The buffers of the user, or of all users, have reached their limit.
    BuffersFull,
    /// The lease of its socket has ended.
    LeaseEnded,
    /// The daemon stops.
    Shutdown,
}

/// A connection that counts towards the limit.
pub(super) struct Tracked {
    pub(super) index: u32,
    pub(super) keys: ConnectionKeys,
    /// The bytes in the connection's buffers.
    buffered: AtomicU32,
    /// The tick at which the activity began, the hold flag, and the activity. The connection alone
    /// changes it.
    activity: AtomicU64,
    /// The slot of the connection in the event loop; [`NO_SLOT`] without one.
    slot: AtomicU32,
    pub(super) close_requested: Notify,
    close_reason: OnceLock<CloseReason>,
}

impl Tracked {
    pub(super) fn new(index: usize, keys: ConnectionKeys, now: u64) -> Self {
        Self {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            keys,
            buffered: AtomicU32::new(0),
            activity: AtomicU64::new(now << FLAG_BITS),
            slot: AtomicU32::new(NO_SLOT),
            close_requested: Notify::new(),
            close_reason: OnceLock::new(),
        }
    }

    pub(super) fn index(&self) -> usize {
        self.index as usize
    }

    pub(super) fn slot(&self) -> Option<usize> {
        let slot = self.slot.load(Ordering::Relaxed);
        (slot != NO_SLOT).then_some(slot as usize)
    }

    pub(super) fn set_slot(&self, slot: usize) {
        let slot = u32::try_from(slot).unwrap_or(NO_SLOT);
        self.slot.store(slot, Ordering::Relaxed);
    }

    pub(super) fn activity(&self) -> Activity {
        match self.activity.load(Ordering::Relaxed) & 3 {
            0 => Activity::Idle,
            1 => Activity::Watching,
            2 => Activity::Waiting,
            _ => Activity::Leasing,
        }
    }

    /// Returns the tick at which the activity began.
    pub(super) fn since(&self) -> u64 {
        self.activity.load(Ordering::Relaxed) >> FLAG_BITS
    }

    pub(super) fn holds(&self) -> bool {
        self.activity.load(Ordering::Relaxed) & HOLD_FLAG != 0
    }

    /// Sets the activity that begins at `now`, and keeps the hold flag.
    pub(super) fn begin(&self, activity: Activity, now: u64) {
        let hold = self.activity.load(Ordering::Relaxed) & HOLD_FLAG;
        let value = (now << FLAG_BITS) | hold | activity as u64;
        self.activity.store(value, Ordering::Relaxed);
    }

    pub(super) fn set_hold(&self, holds: bool) {
        let rest = self.activity.load(Ordering::Relaxed) & !HOLD_FLAG;
        let flag = if holds { HOLD_FLAG } else { 0 };
        self.activity.store(rest | flag, Ordering::Relaxed);
    }

    pub(super) fn buffered(&self) -> u32 {
        self.buffered.load(Ordering::Relaxed)
    }

    pub(super) fn set_buffered(&self, bytes: u32) {
        self.buffered.store(bytes, Ordering::Relaxed);
    }

    /// Requests that the connection closes; the first reason counts.
    pub(super) fn request_close(&self, reason: CloseReason) {
        let _ = self.close_reason.set(reason);
        self.close_requested.notify_one();
    }

    pub(super) fn close_reason(&self) -> Option<CloseReason> {
        self.close_reason.get().copied()
    }
}
