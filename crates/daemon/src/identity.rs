//! Decides who we are: one file a kind of identity, all through one trait.
//!
//! An [`Identity`] says what STS is to be shown, or what is handed on as it is. A [`CachedIdentity`]
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
    chained_profile::ChainedProfile,
    command::IdentityCommand,
    credentials_uri::{CredentialsUri, InvalidUri, UriAddress, UriFileError},
    ecs_role::{EcsRole, InvalidMetadataEndpoint, MetadataEndpoint},
    environment::ProcessEnvironment,
    error::SourceError,
    oidc::Oidc,
    process::Process,
    saml::Saml,
    secret_file::PrivateFileError,
    token_source::TokenSource,
};
use crate::{
    profile::SessionDuration,
    runtime::clock::{BootTime, Clock},
    session::store::Store,
};

/// What a `Date` leaves out.
const DATE_RESOLUTION: Duration = Duration::from_secs(1);

/// One kind of identity.
pub trait Identity: fmt::Debug + Send + Sync + 'static {
    /// Says who we are, by looking anew. Bounded in time by the identity itself.
    fn resolve<'a>(&'a self, context: ResolveContext<'a>) -> ResolveFuture<'a>;

    /// Names what stands behind it, such as `the key file /etc/stsd/uploader.key`.
    fn describe(&self) -> String;

    /// Tells whether what stands behind it looks different from when it was obtained last:
    /// a glance that costs next to nothing, for those who wait for somebody's change.
    fn has_changed(&self, store: &Store, now: BootTime) -> bool {
        let _ = (store, now);
        false
    }

    /// Ends when what stands behind it says by itself that it can be had again; never, where
    /// one has to look.
    fn recovered<'a>(&'a self, store: &'a Store) -> RecoveryFuture<'a> {
        let _ = store;
        Box::pin(std::future::pending())
    }
}

/// Ends when an identity can be had again.
pub type RecoveryFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The answer of an identity, when it is there.
pub type ResolveFuture<'a> =
    Pin<Box<dyn Future<Output = Result<ResolvedIdentity, SourceError>> + Send + 'a>>;

/// What an identity may look at.
#[derive(Clone, Copy)]
pub struct ResolveContext<'a> {
    /// The sessions of other profiles.
    pub store: &'a Store,
    /// What the time is.
    pub clock: &'a dyn Clock,
    /// How new it has to be.
    pub freshness: Freshness<'a>,
}

/// What is wanted of a source that may have said something before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness<'a> {
    /// What STS would take: from before, while half of its life is left.
    Cached,
    /// What is to be had now, and nothing from before: STS has refused what that led to, or it
    /// is handed on and may have been replaced.
    Fresh,
    /// Not this: the service says that it has ended.
    Different(&'a Proof),
}

impl Freshness<'_> {
    /// Tells whether what was said before may do when nothing else is to be had.
    fn accepts(self, before: &ResolvedIdentity) -> bool {
        match self {
            Self::Cached => true,
            Self::Fresh => false,
            // Somebody else may have had it renewed meanwhile.
            Self::Different(ended) => *ended != *before.proof,
        }
    }

    /// Tells whether what was said before will do while it is fresh.
    fn accepts_cached(self) -> bool {
        matches!(self, Self::Cached | Self::Different(_))
    }
}

/// What an identity has said.
#[derive(Debug, Clone)]
pub struct ResolvedIdentity {
    /// What STS is to be shown, or what is handed on.
    pub proof: Arc<Proof>,
    /// When we asked.
    pub asked: BootTime,
    /// When it ends; a RAM user's key does not, and a token says it to the service alone.
    pub end: Option<Expiry>,
}

/// When credentials end that are temporary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// By the clock of whoever issued them.
    pub expiration: Timestamp,
    /// That clock, when we were answered.
    pub issued: Timestamp,
    /// By the clock that counts.
    pub at: BootTime,
}

/// What is known of an identity's last answer.
#[derive(Debug, Clone)]
struct CacheEntry {
    asked: BootTime,
    answer: Result<ResolvedIdentity, SourceError>,
    /// The last good answer.
    good: Option<ResolvedIdentity>,
}

/// An identity that the configuration names.
#[derive(Clone)]
pub struct CachedIdentity {
    fingerprint: Arc<str>,
    identity: Arc<dyn Identity>,
    cache: Arc<Mutex<Option<CacheEntry>>>,
}

impl CachedIdentity {
    /// Makes a source. `fingerprint` says where the identity is to be had, so that two that
    /// are declared alike give equal rights.
    #[must_use]
    pub fn new(fingerprint: &[&str], identity: impl Identity) -> Self {
        Self {
            fingerprint: fingerprint.join("\0").into(),
            identity: Arc::new(identity),
            cache: Arc::default(),
        }
    }

    /// Returns what tells this source from others; may hold what is not to be printed.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Names what stands behind it, for a human.
    #[must_use]
    pub fn describe(&self) -> String {
        self.identity.describe()
    }

    /// Tells whether what stands behind the source looks different now.
    #[must_use]
    pub fn has_changed(&self, store: &Store, now: BootTime) -> bool {
        self.identity.has_changed(store, now)
    }

    /// Ends when the source says by itself that it was mended, which most never do.
    pub async fn recovered(&self, store: &Store) {
        self.identity.recovered(store).await;
    }

    /// Obtains who we are: from before while that is fresh, else by asking. Those who ask
    /// while somebody else does share the answer.
    ///
    /// # Errors
    /// [`SourceError`], when there is no answer and the last good one cannot be used any more.
    pub async fn resolve(
        &self,
        context: ResolveContext<'_>,
    ) -> Result<ResolvedIdentity, SourceError> {
        let wanted = context.clock.boot();
        // Held while asking: it is what makes one asking of many.
        let mut cache = self.cache.lock().await;
        if let Some(cache) = &*cache {
            // Asked for after we began to wait, so it is an answer to us too.
            if cache.asked > wanted {
                return cache.result_for(context.freshness, context.clock.boot());
            }
            let fresh = cache
                .usable_for(context.freshness)
                .filter(|it| it.is_fresh(wanted));
            if let Some(fresh) = fresh.filter(|_| context.freshness.accepts_cached()) {
                return Ok(fresh.clone());
            }
        }
        let asked = context.clock.boot();
        let answer = self.identity.resolve(context).await;
        let (previous_error, good) = match cache.take() {
            Some(cache) => (cache.answer.err(), cache.good),
            None => (None, None),
        };
        let now = CacheEntry {
            asked,
            good: answer.as_ref().ok().cloned().or(good),
            answer,
        };
        let settled = now.result_for(context.freshness, context.clock.boot());
        if let (Err(error), Ok(_)) = (&now.answer, &settled)
            && previous_error.as_ref() != Some(error)
        {
            let hint = &error.hint;
            warn!(hint, "what was known before is used on: {error}");
        }
        *cache = Some(now);
        settled
    }
}

impl CacheEntry {
    /// Returns the last good answer, if it may do for a wish.
    fn usable_for(&self, freshness: Freshness<'_>) -> Option<&ResolvedIdentity> {
        self.good.as_ref().filter(|it| freshness.accepts(it))
    }

    /// Decides what a wish gets: the answer, or what was known before where that will do.
    fn result_for(
        &self,
        freshness: Freshness<'_>,
        now: BootTime,
    ) -> Result<ResolvedIdentity, SourceError> {
        match (&self.answer, self.usable_for(freshness)) {
            (Err(_), Some(good)) if good.is_usable(now) => Ok(good.clone()),
            (answer, _) => answer.clone(),
        }
    }
}

impl fmt::Debug for CachedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.identity).finish()
    }
}

/// Sources that are declared alike give equal rights, so a reload may keep the sessions made
/// from them.
impl PartialEq for CachedIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl ResolvedIdentity {
    /// Tells whether there is no need to ask again yet.
    fn is_fresh(&self, now: BootTime) -> bool {
        self.end
            .is_some_and(|end| end.at.since(now) > end.at.since(self.asked) / 2)
    }

    /// Tells whether it is of use for another call, as far as is known.
    #[must_use]
    pub fn is_usable(&self, now: BootTime) -> bool {
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

impl Expiry {
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
            Some(date) => (date, asked, DATE_RESOLUTION),
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
pub(crate) fn parse_for_fuzzing(text: &str) -> Result<ResolvedIdentity, SourceError> {
    let clock = &crate::runtime::clock::SystemClock::default();
    let got = credentials_document::ReceivedAt {
        asked: clock.boot(),
        date: None,
        clock,
    };
    credentials_document::read(text, "the subject", got)
}

#[cfg(test)]
mod tests;
