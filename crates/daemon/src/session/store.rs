//! The store: a [`ProfileEntry`] for each profile, by name.

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock, RwLockReadGuard},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    profile::{Profile, ProfileName},
    runtime::{clock::Clock, sync},
    session::{
        profile_entry::ProfileEntry,
        snapshot::{Session, SessionResult},
    },
};

/// All profiles, by name.
pub struct Store {
    entries: RwLock<BTreeMap<ProfileName, Arc<ProfileEntry>>>,
    /// Notified when the entries were replaced.
    replaced: watch::Sender<()>,
    /// Encodes the replies of a session before the session is published.
    encode: fn(&mut Session),
}

impl Store {
    /// Returns an empty store. `encode` encodes the replies of each session before the session is
    /// published.
    #[must_use]
    pub fn with_encoder(encode: fn(&mut Session)) -> Self {
        Self {
            entries: RwLock::default(),
            replaced: watch::Sender::default(),
            encode,
        }
    }

    /// Returns a session with encoded replies, ready for publication.
    #[must_use]
    pub fn prepare(&self, mut session: Session) -> Session {
        (self.encode)(&mut session);
        session
    }

    /// Returns a session of a profile that is valid for at least `minimum_life`, and counts it as
    /// served: from memory, or after a wait of `patience` at most. The wait goes on if a reload
    /// changes the profile; [`SessionResult::Removed`] is a profile that does not exist.
    /// `can_read` is called before any work, and again after each such reload. The entry of the
    /// profile is `None` if the caller may not read the profile.
    pub async fn serve(
        &self,
        profile: &str,
        minimum_life: Duration,
        patience: Duration,
        clock: &dyn Clock,
        can_read: impl Fn(&Profile) -> bool,
    ) -> (SessionResult, Option<Arc<ProfileEntry>>) {
        let request = (minimum_life, patience);
        let (result, entry) = self.find_session(profile, request, clock, can_read).await;
        if let (SessionResult::Ready(session) | SessionResult::Short(session), Some(entry)) =
            (&result, &entry)
        {
            entry.count_served(session);
        }
        (result, entry)
    }

    /// Returns a session of a profile as [`serve`](Self::serve) does, without a check and without
    /// counting: for the identity of another profile.
    pub async fn session(
        &self,
        profile: &str,
        minimum_life: Duration,
        patience: Duration,
        clock: &dyn Clock,
    ) -> SessionResult {
        let request = (minimum_life, patience);
        self.find_session(profile, request, clock, |_| true).await.0
    }

    async fn find_session(
        &self,
        profile: &str,
        (minimum_life, patience): (Duration, Duration),
        clock: &dyn Clock,
        can_read: impl Fn(&Profile) -> bool,
    ) -> (SessionResult, Option<Arc<ProfileEntry>>) {
        let began = clock.boot();
        while let Some(entry) = self.find(profile) {
            if !can_read(&entry.profile) {
                return (SessionResult::NotAllowed, None);
            }
            let now = clock.boot();
            let result = match entry.current(minimum_life, now) {
                Some(session) => SessionResult::Ready(session),
                None => {
                    let left = patience.saturating_sub(now.since(began));
                    entry.wait_for(minimum_life, left, clock).await
                }
            };
            if !matches!(result, SessionResult::Removed) {
                return (result, Some(entry));
            }
        }
        (SessionResult::Removed, None)
    }

    /// Requests a refresh of a profile, and waits until an attempt that begins after the call has
    /// ended. The wait goes on if a reload changes the profile.
    ///
    /// # Errors
    /// As [`ProfileEntry::refresh`]; [`SessionResult::Removed`] is a profile that does not exist.
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
                result => return result,
            }
        }
        Err(SessionResult::Removed)
    }

    /// Returns the entry of a profile.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<ProfileEntry>> {
        self.read().get(name).cloned()
    }

    /// Returns all entries, sorted by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<ProfileEntry>> {
        self.read().values().cloned().collect()
    }

    /// Replaces all entries at once.
    pub fn replace(&self, entries: impl IntoIterator<Item = Arc<ProfileEntry>>) {
        let new = entries
            .into_iter()
            .map(|entry| (entry.profile.name.clone(), entry))
            .collect();
        *sync::write(&self.entries) = new;
        self.replaced.send_replace(());
    }

    /// Subscribes to replacements of the entries.
    #[must_use]
    pub fn replacements(&self) -> watch::Receiver<()> {
        self.replaced.subscribe()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<ProfileName, Arc<ProfileEntry>>> {
        sync::read(&self.entries)
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::with_encoder(|_| {})
    }
}
