//! Decides how those who follow a value learn that it has changed: what `tokio::sync::watch`
//! does, in half the memory, because there is one for each profile.

use std::sync::{
    PoisonError, RwLock, RwLockReadGuard,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

/// A value that one changes and many follow.
#[derive(Default)]
pub(super) struct Followed<T> {
    value: RwLock<T>,
    /// How often it has changed.
    version: AtomicU64,
    changed: Notify,
}

impl<T> Followed<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            value: RwLock::new(value),
            version: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// Looks at it; nobody changes it meanwhile.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at it, and at which version that is.
    pub(super) fn read_version(&self) -> (RwLockReadGuard<'_, T>, u64) {
        let value = self.read();
        // It is counted while nobody reads.
        let version = self.version();
        (value, version)
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Changes it, and tells those who follow.
    pub(super) fn change(&self, change: impl FnOnce(&mut T)) {
        let mut value = self.value.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut value);
        self.version.fetch_add(1, Ordering::Release);
        drop(value);
        self.changed.notify_waiters();
    }

    /// Changes what nobody waits for.
    pub(super) fn change_quietly(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.value.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Ends when there is another version than `seen`, at once if there is one already.
    pub(super) async fn changed_since(&self, seen: u64) {
        loop {
            // Listens from here on: a change between the look and the wait is heard.
            let changed = self.changed.notified();
            if self.version() != seen {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future as _,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::Followed;

    #[test]
    fn a_change_is_heard_by_all_who_follow_and_a_quiet_one_by_nobody() {
        let followed = Followed::new(0);
        let mut context = Context::from_waker(Waker::noop());
        let (first, second) = (followed.changed_since(0), followed.changed_since(0));
        let (mut first, mut second) = (pin!(first), pin!(second));
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        followed.change_quietly(|it| *it = 1);
        assert!(first.as_mut().poll(&mut context).is_pending());
        followed.change(|it| *it = 2);
        for waiting in [first, second] {
            assert_eq!(waiting.poll(&mut context), Poll::Ready(()));
        }
        let (value, version) = followed.read_version();
        assert_eq!((*value, version), (2, 1));
    }

    #[test]
    fn a_change_before_the_wait_ends_it_at_once() {
        let followed = Followed::new(());
        let mut context = Context::from_waker(Waker::noop());
        let waiting = pin!(followed.changed_since(followed.version()));
        followed.change(|()| {});
        assert!(waiting.poll(&mut context).is_ready());
    }
}
