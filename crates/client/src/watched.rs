//! Decides what readers of a watched profile see: a session for as long as it lives, and
//! the last failure beside it.

use std::{
    fmt, io,
    ops::Deref,
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
/// handle that nobody shares. Handles are cheap to clone. The task behind them ends, and its
/// connection with it, when the last one is dropped or its runtime stops.
///
/// While the daemon is away, the session it gave last is read for as long as it lives. How
/// long that is, the daemon says, who counts by the clock of the service; from then on it is
/// counted on the machine's boot-time clock, so the local wall clock may be wrong or be set.
/// Only a session whose end the daemon could not be asked for, because it left at that very
/// moment, is measured by the wall clock, and by its own length where that makes no sense.
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
    /// What all handles share, and what this one has read last.
    shared: Cache<Arc<Shared>, Arc<Session>>,
    news: watch::Receiver<News>,
    /// The number of the session that [`changed`](Self::changed) returned last.
    seen: u64,
}

/// Credentials that lived when they were read. Made to be used and dropped: whoever keeps
/// many of these makes reading slower for the thread.
pub struct Current(Guard<Arc<Session>>);

/// The one who keeps a [`Watched`] fresh.
pub(crate) struct Publisher {
    shared: Arc<Shared>,
    news: watch::Sender<News>,
}

/// What all handles share, so that a read is a pointer and a look at the time.
type Shared = ArcSwap<Session>;

struct Session {
    credentials: Credentials,
    /// From when it must not be used any more.
    ends: BootTime,
    /// How many there were before.
    number: u64,
}

/// What those who wait are told.
#[derive(Default)]
struct News {
    /// The number of the newest session.
    session: u64,
    /// Why there is no news; none after a success.
    failure: Option<Arc<Error>>,
}

/// Makes a watched profile, and what keeps it fresh.
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
    /// Returns the newest credentials if they still live.
    #[must_use]
    pub fn current(&self) -> Option<Current> {
        let session = self.shared.arc_swap().load();
        session.lives().then_some(Current(session))
    }

    /// Returns what [`current`](Self::current) does, without telling other threads that it is
    /// being read: for a loop that has a handle of its own, which keeps the session until it is
    /// asked again or dropped.
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
    /// An [`Error`] that does not mend itself ([`Error::is_lasting`]), such as the name of a
    /// profile that is not there. It is tried again all the same, and may be waited for again.
    pub async fn ready(&self) -> Result<Current, Arc<Error>> {
        let mut news = self.news.clone();
        loop {
            // In this order: what is published after the look at the news is news again.
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

    /// Waits until there are other credentials than this handle has had from here before:
    /// the first call returns those that there are, each further one those of a rotation.
    /// Returns the newest; who comes late misses those in between. Nothing when the runtime
    /// of the watch has stopped.
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

    /// Returns why there has been no news since the last session came: that the daemon is
    /// away, does not know the profile, or what STS told it. None while all is well.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<Error>> {
        self.news.borrow().failure.clone()
    }
}

impl Current {
    /// Returns how long the credentials may still be used.
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
    /// Lets the readers have a session, which ends when the daemon has told. If it could not
    /// be asked, the end that is known holds, or else one that the wall clock gives.
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

    /// Lets the readers know why there is no news.
    pub(crate) fn fail(&self, failure: Error) {
        let failure = Some(Arc::new(failure));
        self.news.send_modify(|news| news.failure = failure);
    }

    /// Returns how long the readers still have credentials.
    pub(crate) fn remaining(&self) -> Duration {
        self.shared.load().ends.since(BootTime::now())
    }

    /// Ends when nobody reads any more.
    pub(crate) async fn unread(&self) {
        self.news.closed().await;
    }
}

impl Session {
    fn lives(&self) -> bool {
        BootTime::coarse() < self.ends
    }

    /// Stands in before the first one; it has ended when the machine started.
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

/// Returns how long a session still lives by a wall clock, if that makes sense: the daemon
/// has just sent it, so it does live, and for no longer than when it was issued.
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
    Error::Broken(io::Error::other("the runtime of the watch has stopped"))
}

#[cfg(test)]
mod tests;
