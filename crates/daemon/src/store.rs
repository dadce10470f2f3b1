//! Decides what readers see: a profile's name leads to its newest snapshot.
//!
//! The profile's own task publishes; everybody else reads or waits. Both facts stand side
//! by side in a [`Snapshot`]: a failed renewal never hides credentials that still live.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use stsd_secret::SecretText;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use zeroize::Zeroizing;

use crate::{
    clock::{BootTime, Clock},
    config::Profile,
    schedule::Lifetime,
};

/// One role session, ready to be handed out.
#[derive(Debug)]
pub struct Session {
    /// The temporary AccessKey id.
    pub access_key_id: String,
    /// The temporary AccessKey secret.
    pub access_key_secret: SecretText,
    /// The token that goes with the key.
    pub security_token: SecretText,
    /// When the session ends, by the service's clock.
    pub expiration: Timestamp,
    /// When it was obtained, by the service's clock.
    pub issued: Timestamp,
    /// When it ends by the clock that counts.
    pub lifetime: Lifetime,
    /// The service's name for the call it came from.
    pub request_id: String,
    /// The answer as it is written to a socket, made at the first hand-out.
    pub prepared: OnceLock<Prepared>,
}

/// Bytes made once for a session and written many times; what they mean is not our matter.
pub struct Prepared(pub Zeroizing<Vec<u8>>);

/// What a renewal came to when it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// What kind of failure it was.
    pub cause: Cause,
    /// What happened, for a human, without secrets.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// When it happened.
    pub at: BootTime,
}

/// The kinds of failure that callers can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Refused, and will be refused again until something changes.
    Denied,
    /// No answer, or one that cannot be used.
    Unreachable,
    /// Our calls are being limited.
    Throttled,
}

/// What is known about a profile now.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The newest session. It may have ended since.
    pub session: Option<Arc<Session>>,
    /// Why the last attempt failed; none after a success.
    pub failed: Option<Arc<Failed>>,
    /// When the next attempt is due, and why then; none while nothing is planned.
    pub next_attempt: Option<(BootTime, &'static str)>,
    /// How many attempts have ended.
    pub attempts: u64,
    /// The profile is no longer configured like this.
    pub removed: bool,
}

/// What a caller gets after waiting.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A session that lives as long as was asked.
    Ready(Arc<Session>),
    /// The best session there is; it still lives, for less long than was asked.
    Short(Arc<Session>),
    /// No session, because the last attempt failed.
    Failed(Arc<Failed>),
    /// No session, and no attempt has ended yet.
    NotYet,
    /// The profile was removed or changed by a reload; look it up again.
    Removed,
}

/// One profile's place in the store.
pub struct Entry {
    /// What the profile is.
    pub profile: Arc<Profile>,
    /// Wakes the profile's task.
    pub wake: Notify,
    /// Set when a human asked for a renewal whatever the schedule says.
    pub forced: AtomicBool,
    /// Calls made to STS.
    pub sts_calls: AtomicU64,
    /// Calls made to STS that failed.
    pub sts_failures: AtomicU64,
    hand_outs: AtomicU64,
    last_asked_millis: AtomicU64,
    snapshot: watch::Sender<Snapshot>,
}

/// All profiles, by name.
#[derive(Default)]
pub struct Store(RwLock<BTreeMap<String, Arc<Entry>>>);

impl Snapshot {
    /// Returns the session if it may be handed out for `minimum_life`.
    #[must_use]
    pub fn serving(&self, minimum_life: Duration, now: BootTime) -> Option<&Arc<Session>> {
        let session = self.session.as_ref()?;
        session
            .lifetime
            .serves(minimum_life, now)
            .then_some(session)
    }

    /// What a caller gets who cannot wait any longer.
    fn best(&self, now: BootTime) -> Outcome {
        match (self.serving(Duration::ZERO, now), &self.failed) {
            _ if self.removed => Outcome::Removed,
            (Some(session), _) => Outcome::Short(Arc::clone(session)),
            (None, Some(failed)) => Outcome::Failed(Arc::clone(failed)),
            (None, None) => Outcome::NotYet,
        }
    }

    /// What a caller gets at once: what was asked for, or the certainty that waiting will
    /// not help.
    fn settled(&self, minimum_life: Duration, now: BootTime) -> Option<Outcome> {
        if let Some(session) = self.serving(minimum_life, now) {
            return Some(Outcome::Ready(Arc::clone(session)));
        }
        let denied = self
            .failed
            .as_ref()
            .is_some_and(|it| it.cause == Cause::Denied);
        let longest = self
            .serving(Duration::ZERO, now)
            .is_some_and(|session| !session.lifetime.worth_renewing(now));
        (self.removed || denied || longest).then(|| self.best(now))
    }
}

impl Entry {
    /// Makes a place for a profile that nobody has asked for yet.
    #[must_use]
    pub fn new(profile: Arc<Profile>) -> Self {
        Self {
            profile,
            wake: Notify::new(),
            forced: AtomicBool::new(false),
            sts_calls: AtomicU64::new(0),
            sts_failures: AtomicU64::new(0),
            hand_outs: AtomicU64::new(0),
            last_asked_millis: AtomicU64::new(0),
            snapshot: watch::Sender::new(Snapshot::default()),
        }
    }

    /// Returns a session that lives at least `minimum_life`, from memory: the whole of an
    /// ordinary hand-out.
    #[must_use]
    pub fn current(&self, minimum_life: Duration, now: BootTime) -> Option<Arc<Session>> {
        self.last_asked_millis
            .store(now.as_millis(), Ordering::Relaxed);
        self.snapshot.borrow().serving(minimum_life, now).cloned()
    }

    /// Waits for a session that lives at least `minimum_life`, for `patience` at the most.
    /// Wakes the profile's task; never calls the cloud itself, and cancels nothing when
    /// it is dropped.
    pub async fn wait_for(
        &self,
        minimum_life: Duration,
        patience: Duration,
        clock: &dyn Clock,
    ) -> Outcome {
        let mut changes = self.snapshot.subscribe();
        let settled = async {
            loop {
                let settled = changes
                    .borrow_and_update()
                    .settled(minimum_life, clock.boot());
                match settled {
                    Some(outcome) => return outcome,
                    None => self.wake.notify_one(),
                }
                if changes.changed().await.is_err() {
                    return Outcome::Removed;
                }
            }
        };
        match timeout(patience, settled).await {
            Ok(outcome) => outcome,
            Err(_) => self.snapshot.borrow().best(clock.boot()),
        }
    }

    /// Asks for a renewal now and waits until an attempt has ended.
    ///
    /// # Errors
    /// Why it failed; none when the patience ran out first or the profile was removed.
    pub async fn refresh(&self, patience: Duration) -> Result<(), Option<Arc<Failed>>> {
        let mut changes = self.snapshot.subscribe();
        let before = changes.borrow_and_update().attempts;
        self.forced.store(true, Ordering::Relaxed);
        self.wake.notify_one();
        let ended = changes.wait_for(|it| it.attempts > before || it.removed);
        match timeout(patience, ended).await {
            Ok(Ok(snapshot)) if snapshot.removed => Err(None),
            Ok(Ok(snapshot)) => snapshot
                .failed
                .clone()
                .map_or(Ok(()), |failed| Err(Some(failed))),
            _ => Err(None),
        }
    }

    /// Follows the snapshots of this profile.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.subscribe()
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

    /// Counts one hand-out.
    pub fn count_hand_out(&self) {
        self.hand_outs.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many times credentials were handed out.
    #[must_use]
    pub fn hand_outs(&self) -> u64 {
        self.hand_outs.load(Ordering::Relaxed)
    }

    /// Returns how long ago somebody asked.
    #[must_use]
    pub fn idle(&self, now: BootTime) -> Duration {
        let asked = self.last_asked_millis.load(Ordering::Relaxed);
        now.since(BootTime::from_millis(asked))
    }
}

impl Store {
    /// Returns the place of a profile.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<Entry>> {
        self.read().get(name).cloned()
    }

    /// Returns every place, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Entry>> {
        self.read().values().cloned().collect()
    }

    /// Puts the profiles of a new configuration in place of the old ones, at once.
    pub fn replace(&self, entries: impl IntoIterator<Item = Arc<Entry>>) {
        let new = entries
            .into_iter()
            .map(|entry| (entry.profile.name.as_str().to_owned(), entry))
            .collect();
        *self
            .0
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = new;
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Entry>>> {
        self.0
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}
