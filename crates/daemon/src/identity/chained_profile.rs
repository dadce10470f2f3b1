//! The identity of a role chain: the session of another profile.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::profile::{
    Cause, Freshness, IdentityProvider, NoSession, ProfileName, RecoveryFuture, ResolveContext,
    ResolveFuture, ResolvedIdentity, Sessions, Signer, SourceError, signing_margin,
};

/// Timeout for the session of the other profile, which may be the end of a chain itself.
const SESSION_TIMEOUT: Duration = Duration::from_secs(60);

/// An identity that is another profile's session.
#[derive(Debug)]
pub struct ChainedProfile {
    name: ProfileName,
    /// The last resolution has failed.
    last_failed: AtomicBool,
}

impl ChainedProfile {
    /// Returns the identity that is a profile's session.
    #[must_use]
    pub fn new(name: ProfileName) -> Self {
        Self {
            name,
            last_failed: AtomicBool::new(false),
        }
    }

    fn error(&self, reason: NoSession) -> SourceError {
        let hint = format!(
            "correct profile {} first: stsctl status shows its error",
            self.name.as_str()
        );
        let (cause, problem, hint) = match reason {
            NoSession::Failed {
                cause,
                message,
                hint,
            } => (
                cause,
                format!("has no session to sign with: {message}"),
                hint,
            ),
            NoSession::Expiring => {
                let problem = "has a session that is about to expire, and no renewal of it";
                (Cause::Source, problem.to_owned(), hint)
            }
            NoSession::NotYet(state) => {
                let problem = format!("has no session to sign with yet: {state}");
                (Cause::Source, problem, hint)
            }
            NoSession::Removed => (Cause::Source, "is not configured any more".to_owned(), hint),
        };
        SourceError {
            cause,
            ..SourceError::new(self.describe(), problem, hint)
        }
    }
}

impl IdentityProvider for ChainedProfile {
    fn resolve<'a>(&'a self, context: ResolveContext<'a>) -> ResolveFuture<'a> {
        Box::pin(async move {
            let (name, sessions, clock) = (self.name.as_str(), context.sessions, context.clock);
            // Only an expired session is refreshed. A role that this profile may not assume is no
            // reason to renew the other profile's session.
            let is_expired =
                |it: ResolvedIdentity| context.freshness == Freshness::Different(&it.proof);
            if sessions.current(name).is_some_and(is_expired) {
                sessions.refresh(name, SESSION_TIMEOUT, clock).await;
            }
            // The other profile renews its session at half of the lifetime, so that a session with
            // less than a quarter has missed a renewal.
            let end = |it: ResolvedIdentity| Some(it.end?.at.since(it.asked));
            let lifetime = sessions.current(name).and_then(end);
            let minimum = lifetime.map_or(Duration::ZERO, signing_margin);
            let outcome = sessions.session(name, minimum, SESSION_TIMEOUT, clock);
            let outcome = outcome.await;
            self.last_failed.store(outcome.is_err(), Ordering::Relaxed);
            outcome.map_err(|reason| self.error(reason))
        })
    }

    fn describe(&self) -> String {
        format!("profile {}", self.name.as_str())
    }

    fn signer(&self) -> Signer {
        Signer::ProfileRole
    }

    /// Completes with the recovery of the other profile.
    fn recovered<'a>(&'a self, sessions: &'a dyn Sessions) -> RecoveryFuture<'a> {
        if self.last_failed.load(Ordering::Relaxed) {
            sessions.recovered(self.name.as_str())
        } else {
            Box::pin(std::future::pending())
        }
    }
}
