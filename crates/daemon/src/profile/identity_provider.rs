//! The interface of identity providers. The folder `identity` has an implementation for each kind.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use stsd_sts::Proof;

use super::{ResolvedIdentity, Signer, SourceError};
use crate::runtime::clock::{BootTime, Clock};

/// One kind of identity.
pub trait IdentityProvider: fmt::Debug + Send + Sync + 'static {
    /// Resolves the identity anew. The provider bounds the time.
    fn resolve<'a>(&'a self, context: ResolveContext<'a>) -> ResolveFuture<'a>;

    /// Returns the name of the origin, such as `the key file /etc/stsd/uploader.key`.
    fn describe(&self) -> String;

    /// Returns the party that authorizes a call with this identity.
    fn signer(&self) -> Signer {
        Signer::Supplied
    }

    /// Returns `true` if a request of the provider may go by the proxy of the environment.
    fn may_use_proxy(&self) -> bool {
        false
    }

    /// Returns `true` if the origin has changed since the last resolution. The call is cheap and
    /// never blocks, because a task calls it at each wake-up while a failure lasts.
    fn has_changed(&self, now: BootTime) -> bool {
        let _ = now;
        false
    }

    /// Completes when the provider is notified of a recovery; never for a provider that has to be
    /// polled.
    fn recovered<'a>(&'a self, sessions: &'a dyn Sessions) -> RecoveryFuture<'a> {
        let _ = sessions;
        Box::pin(std::future::pending())
    }
}

/// The result of [`IdentityProvider::resolve`].
pub type ResolveFuture<'a> =
    Pin<Box<dyn Future<Output = Result<ResolvedIdentity, SourceError>> + Send + 'a>>;

/// The result of [`IdentityProvider::recovered`].
pub type RecoveryFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The arguments of a resolution.
#[derive(Clone, Copy)]
pub struct ResolveContext<'a> {
    /// The sessions of other profiles.
    pub sessions: &'a dyn Sessions,
    /// The clocks.
    pub clock: &'a dyn Clock,
    /// The cached identities that the caller accepts.
    pub freshness: Freshness<'a>,
}

/// The cached identities that a caller accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness<'a> {
    /// Any that STS accepts. A cached identity is used for half of its lifetime.
    Cached,
    /// None: STS has refused the cached identity, or the identity is passed through and may have
    /// been replaced.
    Fresh,
    /// Any except this one, which STS has called expired.
    Different(&'a Proof),
}

impl Freshness<'_> {
    /// Returns `true` if a cached identity is accepted after a failed resolution.
    pub(super) fn accepts(self, cached: &ResolvedIdentity) -> bool {
        match self {
            Self::Cached => true,
            Self::Fresh => false,
            // Another profile may have had the identity renewed meanwhile.
            Self::Different(expired) => *expired != *cached.proof,
        }
    }

    /// Returns `true` if a cached identity in the first half of its lifetime is accepted.
    pub(super) fn accepts_cached(self) -> bool {
        matches!(self, Self::Cached | Self::Different(_))
    }
}

/// The sessions of other profiles, as the identity of a role chain needs them.
pub trait Sessions: Send + Sync {
    /// Returns the newest session of a profile, which may have expired.
    fn current(&self, profile: &str) -> Option<ResolvedIdentity>;

    /// Waits for a session of a profile with a remaining lifetime of at least `minimum_lifetime`,
    /// for `limit` at most.
    ///
    /// # Errors
    /// [`NoSession`]; a failed refresh ends the wait at once.
    fn session<'a>(
        &'a self,
        profile: &'a str,
        minimum_lifetime: Duration,
        limit: Duration,
        clock: &'a dyn Clock,
    ) -> SessionFuture<'a>;

    /// Refreshes the session of a profile and waits for the end of the attempt, for `limit` at
    /// most.
    fn refresh<'a>(
        &'a self,
        profile: &'a str,
        limit: Duration,
        clock: &'a dyn Clock,
    ) -> RecoveryFuture<'a>;

    /// Completes when a failed profile has a session again or is removed; never for an unknown
    /// profile.
    fn recovered<'a>(&'a self, profile: &'a str) -> RecoveryFuture<'a>;
}

/// The result of [`Sessions::session`].
pub type SessionFuture<'a> =
    Pin<Box<dyn Future<Output = Result<ResolvedIdentity, NoSession>> + Send + 'a>>;

/// The reason why a profile has no session for a role chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoSession {
    /// The last refresh has failed.
    Failed {
        /// The kind of the failure.
        cause: super::Cause,
        /// The failure, without secrets.
        message: String,
        /// The remediation.
        hint: String,
    },
    /// The session is about to expire.
    Expiring,
    /// No attempt has ended yet; the state of the current one.
    NotYet(String),
    /// The profile is not configured.
    Removed,
}
