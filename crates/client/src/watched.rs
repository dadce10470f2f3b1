//! A watched profile: its readers see the session until it expires, and the last failure beside
//! the session.

use std::{
    fmt, io,
    ops::Deref,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::{ArcSwap, Cache, Guard};
use stsd_wire::{Credentials, SecretText};
use tokio::sync::watch;

use crate::{Error, boot_time::BootTime};

/// The credentials of one profile, kept fresh in the background.
///
/// [`current`](Self::current) takes 10 to 30 ns, never waits and makes no system call; any
/// thread may call it, on a runtime or not. [`latest`](Self::latest) takes half as long, with a
/// handle of its own (`&mut self`). Handles are cheap to clone. The task behind them ends, and its
/// connection with it, when the last handle is dropped or its runtime stops.
///
/// While the daemon is away, readers get its last session until that expires. The daemon computes
/// the remaining lifetime by the clock of the service; from then on the client counts on the
/// machine's boot-time clock, so the local wall clock may be wrong or be set. Only if the daemon
/// went away before it returned the remaining lifetime, the expiration is compared with the wall
/// clock, or, where the result is impossible, the session's full lifetime is counted.
///
/// ```no_run
/// # async fn example() -> Result<(), std::sync::Arc<stsd_client::Error>> {
/// let watched = stsd_client::AsyncClient::from_environment().watch("oss-upload");
/// watched.ready().await?;
/// // As often as there is something to sign:
/// if let Some(credentials) = watched.current() {
///     println!("{} for {:?}", credentials.access_key_id, credentials.remaining());
/// }
/// # Ok(())
/// # }
/// ```
///
/// Without a daemon there is a reason instead:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::time::Duration;
///
/// let watched = stsd_client::AsyncClient::at("/nonexistent/stsd.sock").watch("oss-upload");
/// let ready = tokio::time::timeout(Duration::from_millis(500), watched.ready()).await;
/// assert!(ready.is_err(), "it may be started yet");
/// assert!(watched.current().is_none());
/// assert_eq!(watched.failure().unwrap().exit_code(), 3);
/// # }
/// ```
#[derive(Clone)]
pub struct Watched {
    /// The value that all handles share, and this handle's last read of it.
    shared: Cache<Arc<Shared>, Arc<Session>>,
    news: watch::Receiver<News>,
    /// The number of the session that [`changed`](Self::changed) returned last.
    seen: u64,
}

/// Credentials that were valid when they were read. They should be used and dropped: a thread that
/// holds many of these values reads more slowly.
pub struct Current(Guard<Arc<Session>>);

/// The writing half of a [`Watched`].
pub(crate) struct Publisher {
    shared: Arc<Shared>,
    news: watch::Sender<News>,
}

/// The value that all handles share. A read loads a pointer and compares the time.
type Shared = ArcSwap<Session>;

struct Session {
    credentials: Credentials,
    /// The expiration, on the boot-time clock.
    ends: BootTime,
    /// The number of sessions before this one.
    number: u64,
}

/// The last change, for tasks that wait for one.
#[derive(Default)]
struct News {
    /// The number of the newest session.
    session: u64,
    /// The failure since the newest session; `None` after a success.
    failure: Option<Arc<Error>>,
}

/// Returns the two halves of a watched profile.
pub(crate) fn channel() -> (Publisher, Watched) {
    let shared = Arc::new(Shared::from_pointee(Session::none()));
    let (sender, receiver) = watch::channel(News::default());
    let publisher = Publisher {
        shared: Arc::clone(&shared),
        news: sender,
    };
    let watched = Watched {
        shared: Cache::new(shared),
        news: receiver,
        seen: 0,
    };
    (publisher, watched)
}

impl Watched {
    /// Returns the newest credentials; `None` if they have expired or none have arrived.
    #[must_use]
    pub fn current(&self) -> Option<Current> {
        let session = self.shared.arc_swap().load();
        session.lives().then_some(Current(session))
    }

    /// Returns the same as [`current`](Self::current), without the synchronisation between
    /// threads: for a loop with a handle of its own. The handle keeps the session until the next
    /// call or until it is dropped.
    #[must_use]
    pub fn latest(&mut self) -> Option<&Credentials> {
        let session = self.shared.load();
        session.lives().then_some(&session.credentials)
    }

    /// Waits until there are credentials. A daemon that is away or cannot reach STS may come
    /// back, so this may take for ever: bound it with `tokio::time::timeout`, after which
    /// [`failure`](Self::failure) has the reason.
    ///
    /// # Errors
    /// An [`Error`] that persists until something is changed ([`Error::is_lasting`]), such as an
    /// unknown profile. The task retries all the same, and the caller may wait again.
    pub async fn ready(&self) -> Result<Current, Arc<Error>> {
        let mut news = self.news.clone();
        loop {
            // In this order: a session that is published after this read is a change again.
            let failure = news.borrow_and_update().failure.clone();
            if let Some(current) = self.current() {
                return Ok(current);
            }
            match failure {
                Some(failure) if failure.is_lasting() => return Err(failure),
                _ if news.changed().await.is_err() => return Err(Arc::new(stopped())),
                _ => {}
            }
        }
    }

    /// Waits for other credentials than the last call on this handle returned, and returns them:
    /// the first call returns the current ones, each further call those of a rotation. It returns
    /// the newest ones; a late call misses those in between. Returns `None` when the runtime of
    /// the watch has stopped.
    pub async fn changed(&mut self) -> Option<Current> {
        loop {
            let seen = self.seen;
            let newest = self.news.wait_for(|news| news.session > seen).await;
            self.seen = newest.ok()?.session;
            if let Some(current) = self.current() {
                self.seen = current.0.number;
                return Some(current);
            }
        }
    }

    /// Returns the failure since the last session: the daemon is away, does not know the profile,
    /// or STS refused. `None` if there was no failure.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<Error>> {
        self.news.borrow().failure.clone()
    }
}

impl Current {
    /// Returns the remaining lifetime of the credentials.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.0.ends.since(BootTime::now())
    }
}

impl Deref for Current {
    type Target = Credentials;

    fn deref(&self) -> &Credentials {
        &self.0.credentials
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut watched = f.debug_struct("Watched");
        watched.field("current", &self.current());
        watched.field("failure", &self.failure()).finish()
    }
}

impl Publisher {
    /// Publishes a session. `told` is its expiration as the daemon computed it; if it is `None`,
    /// the expiration that is already known for this session is kept, or else computed by the
    /// wall clock.
    pub(crate) fn publish(&self, credentials: Credentials, told: Option<BootTime>) {
        let before = self.shared.load_full();
        let same = before.credentials == credentials;
        let known = same.then_some(before.ends);
        let guess = || BootTime::now() + guess(&credentials, wall_clock());
        let ends = told.or(known).unwrap_or_else(guess);
        let number = before.number + u64::from(!same);
        self.shared.store(Arc::new(Session {
            credentials,
            ends,
            number,
        }));
        self.news.send_modify(|news| {
            *news = News {
                session: number,
                failure: None,
            };
        });
    }

    /// Publishes a failure; the session stays readable.
    pub(crate) fn fail(&self, failure: Error) {
        let failure = Some(Arc::new(failure));
        self.news.send_modify(|news| news.failure = failure);
    }

    /// Returns the remaining lifetime of the published session.
    pub(crate) fn remaining(&self) -> Duration {
        self.shared.load().ends.since(BootTime::now())
    }

    /// Completes when the last reader is dropped.
    pub(crate) async fn unread(&self) {
        self.news.closed().await;
    }
}

impl Session {
    fn lives(&self) -> bool {
        BootTime::coarse() < self.ends
    }

    /// Returns the placeholder before the first session, which has expired already.
    fn none() -> Self {
        Self {
            credentials: Credentials {
                access_key_id: String::new(),
                access_key_secret: SecretText::from(String::new()),
                security_token: SecretText::from(String::new()),
                expiration_unix_seconds: 0,
                issued_unix_seconds: 0,
            },
            ends: BootTime::ZERO,
            number: 0,
        }
    }
}

/// Returns the remaining lifetime of a session by a wall clock, or its full lifetime if the clock
/// must be wrong: the daemon has just sent the session, so it is valid, and for no longer than when
/// it was issued.
fn guess(credentials: &Credentials, wall_clock: i64) -> Duration {
    let until = |since| credentials.expiration_unix_seconds.saturating_sub(since);
    let life = until(credentials.issued_unix_seconds).max(0);
    let left = until(wall_clock);
    let left = if (1..=life).contains(&left) {
        left
    } else {
        life
    };
    Duration::from_secs(left.cast_unsigned())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the second best there is, when the daemon cannot be asked"
)]
fn wall_clock() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |it| it.as_secs().cast_signed())
}

fn stopped() -> Error {
    Error::Broken {
        socket: PathBuf::new(),
        source: io::Error::other("the runtime of the watch has stopped"),
    }
}

#[cfg(test)]
mod tests;
