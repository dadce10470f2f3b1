//! Decides who we are: one file a kind of identity, all through one trait.
//!
//! An [`Identity`] says what STS is to be shown, or what is handed on as it is. A [`Source`]
//! is an identity of the configuration, shared by all profiles that use it: many that ask at
//! once cost one asking, and what has an end of its own is used until half of its life.

pub(crate) mod access_key;
mod chained_profile;
mod command;
mod credentials_document;
mod credentials_uri;
mod ecs_role;
mod environment;
mod error;
mod http_client;
mod oidc;
mod process;
mod saml;
mod secret_file;
#[cfg(any(test, fuzzing))]
mod testing;
mod token_source;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use stsd_sts::Proof;
use tokio::sync::Mutex;
use tracing::warn;

pub use self::{
    access_key::{AccessKey, KeyFileError},
    chained_profile::OfProfile,
    command::Program,
    credentials_uri::{Address, BadUri, Uri, UriFileError},
    ecs_role::{BadMetadataEndpoint, EcsRole, MetadataEndpoint},
    environment::Surroundings,
    error::SourceError,
    oidc::Oidc,
    process::Process,
    saml::Saml,
    secret_file::PrivateFileError,
    token_source::Token,
};
use crate::{
    profile::SessionDuration,
    runtime::clock::{BootTime, Clock},
    session::store::Store,
};

/// What a `Date` leaves out.
const ROUNDING: Duration = Duration::from_secs(1);

/// One kind of identity.
pub trait Identity: fmt::Debug + Send + Sync + 'static {
    /// Says who we are, by looking anew. Bounded in time by the identity itself.
    fn obtain<'a>(&'a self, ask: Ask<'a>) -> Asking<'a>;

    /// Names what stands behind it, such as `the key file /etc/stsd/uploader.key`.
    fn subject(&self) -> String;

    /// Tells whether what stands behind it looks different from when it was obtained last:
    /// a glance that costs next to nothing, for those who wait for somebody's change.
    fn changed(&self, store: &Store, now: BootTime) -> bool {
        let _ = (store, now);
        false
    }

    /// Ends when what stands behind it says by itself that it can be had again; never, where
    /// one has to look.
    fn mended<'a>(&'a self, store: &'a Store) -> Mending<'a> {
        let _ = store;
        Box::pin(std::future::pending())
    }
}

/// Ends when an identity can be had again.
pub type Mending<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The answer of an identity, when it is there.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Obtained, SourceError>> + Send + 'a>>;

/// What an identity may look at.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The sessions of other profiles.
    pub store: &'a Store,
    /// What the time is.
    pub clock: &'a dyn Clock,
    /// How new it has to be.
    pub wish: Wish<'a>,
}

/// What is wanted of a source that may have said something before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish<'a> {
    /// What STS would take: from before, while half of its life is left.
    Usable,
    /// What is to be had now, and nothing from before: STS has refused what that led to, or it
    /// is handed on and may have been replaced.
    Newest,
    /// Not this: the service says that it has ended.
    Another(&'a Proof),
}

impl Wish<'_> {
    /// Tells whether what was said before may do when nothing else is to be had.
    fn takes(self, before: &Obtained) -> bool {
        match self {
            Self::Usable => true,
            Self::Newest => false,
            // Somebody else may have had it renewed meanwhile.
            Self::Another(ended) => *ended != *before.proof,
        }
    }

    /// Tells whether what was said before will do while it is fresh.
    fn is_patient(self) -> bool {
        matches!(self, Self::Usable | Self::Another(_))
    }
}

/// What an identity has said.
#[derive(Debug, Clone)]
pub struct Obtained {
    /// What STS is to be shown, or what is handed on.
    pub proof: Arc<Proof>,
    /// When we asked.
    pub asked: BootTime,
    /// When it ends; a RAM user's key does not, and a token says it to the service alone.
    pub end: Option<End>,
}

/// When credentials end that are temporary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// By the clock of whoever issued them.
    pub expiration: Timestamp,
    /// That clock, when we were answered.
    pub issued: Timestamp,
    /// By the clock that counts.
    pub at: BootTime,
}

/// What is known of an identity's last answer.
#[derive(Debug, Clone)]
struct Held {
    asked: BootTime,
    answer: Result<Obtained, SourceError>,
    /// The last good answer.
    good: Option<Obtained>,
}

/// An identity that the configuration names.
#[derive(Clone)]
pub struct Source {
    declaration: Arc<str>,
    identity: Arc<dyn Identity>,
    held: Arc<Mutex<Option<Held>>>,
}

impl Source {
    /// Makes a source. `declaration` says where the identity is to be had, so that two that
    /// are declared alike give equal rights.
    #[must_use]
    pub fn new(declaration: &[&str], identity: impl Identity) -> Self {
        Self {
            declaration: declaration.join("\0").into(),
            identity: Arc::new(identity),
            held: Arc::default(),
        }
    }

    /// Returns what tells this source from others; may hold what is not to be printed.
    #[must_use]
    pub fn declaration(&self) -> &str {
        &self.declaration
    }

    /// Names what stands behind it, for a human.
    #[must_use]
    pub fn subject(&self) -> String {
        self.identity.subject()
    }

    /// Tells whether what stands behind the source looks different now.
    #[must_use]
    pub fn changed(&self, store: &Store, now: BootTime) -> bool {
        self.identity.changed(store, now)
    }

    /// Ends when the source says by itself that it was mended, which most never do.
    pub async fn mended(&self, store: &Store) {
        self.identity.mended(store).await;
    }

    /// Obtains who we are: from before while that is fresh, else by asking. Those who ask
    /// while somebody else does share the answer.
    ///
    /// # Errors
    /// [`SourceError`], when there is no answer and the last good one cannot be used any more.
    pub async fn obtain(&self, ask: Ask<'_>) -> Result<Obtained, SourceError> {
        let wanted = ask.clock.boot();
        // Held while asking: it is what makes one asking of many.
        let mut held = self.held.lock().await;
        if let Some(held) = &*held {
            // Asked for after we began to wait, so it is an answer to us too.
            if held.asked > wanted {
                return held.settle(ask.wish, ask.clock.boot());
            }
            let fresh = held.usable(ask.wish).filter(|it| it.is_fresh(wanted));
            if let Some(fresh) = fresh.filter(|_| ask.wish.is_patient()) {
                return Ok(fresh.clone());
            }
        }
        let asked = ask.clock.boot();
        let answer = self.identity.obtain(ask).await;
        let (complaint, good) = match held.take() {
            Some(held) => (held.answer.err(), held.good),
            None => (None, None),
        };
        let now = Held {
            asked,
            good: answer.as_ref().ok().cloned().or(good),
            answer,
        };
        let settled = now.settle(ask.wish, ask.clock.boot());
        if let (Err(error), Ok(_)) = (&now.answer, &settled)
            && complaint.as_ref() != Some(error)
        {
            let hint = &error.hint;
            warn!(hint, "what was known before is used on: {error}");
        }
        *held = Some(now);
        settled
    }
}

impl Held {
    /// Returns the last good answer, if it may do for a wish.
    fn usable(&self, wish: Wish<'_>) -> Option<&Obtained> {
        self.good.as_ref().filter(|it| wish.takes(it))
    }

    /// Decides what a wish gets: the answer, or what was known before where that will do.
    fn settle(&self, wish: Wish<'_>, now: BootTime) -> Result<Obtained, SourceError> {
        match (&self.answer, self.usable(wish)) {
            (Err(_), Some(good)) if good.lasts(now) => Ok(good.clone()),
            (answer, _) => answer.clone(),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.identity).finish()
    }
}

/// Sources that are declared alike give equal rights, so a reload may keep the sessions made
/// from them.
impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.declaration == other.declaration
    }
}

impl Obtained {
    /// Tells whether there is no need to ask again yet.
    fn is_fresh(&self, now: BootTime) -> bool {
        self.end
            .is_some_and(|end| end.at.since(now) > end.at.since(self.asked) / 2)
    }

    /// Tells whether it is of use for another call, as far as is known.
    #[must_use]
    pub fn lasts(&self, now: BootTime) -> bool {
        match (self.end, &*self.proof) {
            (Some(end), _) => end.at.since(now) > enough(end.at.since(self.asked)),
            (None, proof) => matches!(proof, Proof::Credentials(_)),
        }
    }
}

/// Returns how much life credentials must have left that sign a call, of so much in all: a
/// call takes ten seconds at the most.
fn enough(length: Duration) -> Duration {
    (length / 4).min(Duration::from_secs(15))
}

impl End {
    /// Moves an end onto the clock that counts. `date` is the issuer's clock when it answered,
    /// where it said so; `asked` is from before, so nothing lives longer than it does.
    #[must_use]
    pub fn new(
        expiration: Timestamp,
        date: Option<Timestamp>,
        asked: BootTime,
        clock: &dyn Clock,
    ) -> Self {
        // Our own clocks are read side by side, however long the answer took.
        let (issued, since, lost) = match date {
            Some(date) => (date, asked, ROUNDING),
            None => (clock.wall(), clock.boot(), Duration::ZERO),
        };
        let life = expiration.duration_since(issued);
        let life = Duration::try_from(life).unwrap_or_default();
        let at = since + life.saturating_sub(lost).min(SessionDuration::LONGEST);
        Self {
            expiration,
            issued,
            // Who claims more is asked again sooner; that harms nobody.
            at: at.min(asked + SessionDuration::LONGEST),
        }
    }
}

/// Reads a document as a source does, for the fuzz targets.
#[cfg(fuzzing)]
pub(crate) fn attempt(text: &str) -> Result<Obtained, SourceError> {
    let clock = &crate::runtime::clock::SystemClock::default();
    let got = credentials_document::Got {
        asked: clock.boot(),
        date: None,
        clock,
    };
    credentials_document::read(text, "the subject", got)
}

#[cfg(test)]
mod tests;
