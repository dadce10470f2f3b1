//! The cache in front of an identity provider. Profiles with the same `[source.*]` table share it,
//! and concurrent resolutions are one (single flight).

use std::{fmt, sync::Arc};

use tokio::sync::Mutex;
use tracing::warn;

use super::{
    Freshness, IdentityProvider, ResolveContext, ResolvedIdentity, Sessions, Signer, SourceError,
    last_resolution::{LastResolution, ResolutionRecord},
};
use crate::runtime::clock::BootTime;

/// An identity of the configuration, with the last result of its provider.
#[derive(Clone)]
pub struct CachedIdentity {
    fingerprint: Arc<str>,
    provider: Arc<dyn IdentityProvider>,
    cache: Arc<Mutex<Option<CacheEntry>>>,
    /// `None` for the session of another profile, whose status is that profile's.
    record: Option<Arc<ResolutionRecord>>,
}

/// The last result of a provider.
#[derive(Debug, Clone)]
struct CacheEntry {
    asked: BootTime,
    result: Result<ResolvedIdentity, SourceError>,
    /// The last success.
    good: Option<ResolvedIdentity>,
}

impl CachedIdentity {
    /// Returns an identity without a cached result. Two identities with equal `fingerprint`s grant
    /// equal rights.
    #[must_use]
    pub fn new(fingerprint: &[&str], provider: impl IdentityProvider) -> Self {
        Self {
            fingerprint: fingerprint.join("\0").into(),
            provider: Arc::new(provider),
            cache: Arc::default(),
            record: None,
        }
    }

    /// Returns the identity with the name of its table, by which its last resolution is reported.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self {
            record: Some(Arc::new(ResolutionRecord::new(name))),
            ..self
        }
    }

    /// Returns the name of the table and the last resolution; `None` before the first.
    #[must_use]
    pub fn last_resolution(&self) -> Option<(&str, LastResolution)> {
        let record = self.record.as_ref()?;
        Some((record.name(), record.last()?))
    }

    /// Returns the text that identifies the provider's configuration; it must not be printed.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Returns the name of the origin, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        self.provider.describe()
    }

    /// Returns the party that authorizes a call with this identity.
    #[must_use]
    pub fn signer(&self) -> Signer {
        self.provider.signer()
    }

    /// Returns `true` if a request of the provider may go by the proxy of the environment.
    #[must_use]
    pub fn may_use_proxy(&self) -> bool {
        self.provider.may_use_proxy()
    }

    /// Returns `true` if the origin has changed since the last resolution.
    #[must_use]
    pub fn has_changed(&self, now: BootTime) -> bool {
        self.provider.has_changed(now)
    }

    /// Completes when the provider is notified of a recovery, which most providers never are.
    pub async fn recovered(&self, sessions: &dyn Sessions) {
        self.provider.recovered(sessions).await;
    }

    /// Returns the cached identity while it is fresh, else the result of the provider. Concurrent
    /// calls share one result.
    ///
    /// # Errors
    /// [`SourceError`], if the provider fails and the last success is not usable any more.
    pub async fn resolve(
        &self,
        context: ResolveContext<'_>,
    ) -> Result<ResolvedIdentity, SourceError> {
        let wanted = context.clock.boot();
        // Held during the resolution: the lock makes one resolution of concurrent calls.
        let mut cache = self.cache.lock().await;
        if let Some(cache) = &*cache {
            // The resolution began after this call, so that its result is valid for this call too.
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
        let result = self.provider.resolve(context).await;
        if let Some(record) = &self.record {
            let succeeded = result.is_ok();
            record.set(LastResolution { asked, succeeded });
        }
        let (previous_error, good) = match cache.take() {
            Some(cache) => (cache.result.err(), cache.good),
            None => (None, None),
        };
        let now = CacheEntry {
            asked,
            good: result.as_ref().ok().cloned().or(good),
            result,
        };
        let settled = now.result_for(context.freshness, context.clock.boot());
        if let (Err(error), Ok(_)) = (&now.result, &settled)
            && previous_error.as_ref() != Some(error)
        {
            let hint = &error.hint;
            warn!(hint, "identity not resolved, using the cached one: {error}");
        }
        *cache = Some(now);
        settled
    }
}

impl CacheEntry {
    /// Returns the last success, if the caller accepts a cached identity.
    fn usable_for(&self, freshness: Freshness<'_>) -> Option<&ResolvedIdentity> {
        self.good.as_ref().filter(|it| freshness.accepts(it))
    }

    /// Returns the last result, or after an error the last success while it is usable.
    fn result_for(
        &self,
        freshness: Freshness<'_>,
        now: BootTime,
    ) -> Result<ResolvedIdentity, SourceError> {
        match (&self.result, self.usable_for(freshness)) {
            (Err(_), Some(good)) if good.is_usable(now) => Ok(good.clone()),
            (result, _) => result.clone(),
        }
    }
}

impl fmt::Debug for CachedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.provider).finish()
    }
}

/// Identities with equal configurations grant equal rights, so that a reload may keep the sessions
/// of one for the other.
impl PartialEq for CachedIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

#[cfg(any(test, fuzzing))]
impl CachedIdentity {
    /// Returns the identity of a fixed key, for tests.
    pub(crate) fn sample() -> Self {
        Self::new(&["sample"], super::testing::FixedKey)
    }
}

#[cfg(test)]
mod tests;
