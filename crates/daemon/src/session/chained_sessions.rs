//! The store's sessions as identities of other profiles, for role chains.

use std::{sync::Arc, time::Duration};

use stsd_sts::{Proof, SourceCredentials};

use crate::{
    profile::{Expiry, NoSession, RecoveryFuture, ResolvedIdentity, SessionFuture, Sessions},
    runtime::clock::Clock,
    session::{
        snapshot::{RefreshError, Session, SessionResult, Snapshot},
        store::Store,
    },
};

impl Sessions for Store {
    fn current(&self, profile: &str) -> Option<ResolvedIdentity> {
        let session = self.find(profile)?.snapshot().session?;
        Some(identity_of(&session))
    }

    fn session<'a>(
        &'a self,
        profile: &'a str,
        minimum_lifetime: Duration,
        limit: Duration,
        clock: &'a dyn Clock,
    ) -> SessionFuture<'a> {
        Box::pin(async move {
            let result = tokio::select! {
                biased;
                result = Store::session(self, profile, minimum_lifetime, limit, clock) => result,
                failed = last_failure(self, profile) => SessionResult::Failed(failed),
            };
            match result {
                SessionResult::Ready(session) => Ok(identity_of(&session)),
                SessionResult::Failed(failed) => Err(NoSession::Failed {
                    cause: failed.cause,
                    message: failed.message.clone(),
                    hint: failed.hint.clone(),
                }),
                SessionResult::Short(_) => Err(NoSession::Expiring),
                SessionResult::NotYet(state) => Err(NoSession::NotYet(state)),
                SessionResult::Removed | SessionResult::NotAllowed => Err(NoSession::Removed),
            }
        })
    }

    fn refresh<'a>(
        &'a self,
        profile: &'a str,
        limit: Duration,
        clock: &'a dyn Clock,
    ) -> RecoveryFuture<'a> {
        Box::pin(async move {
            // The result shows in the session that follows.
            let _ = Store::refresh(self, profile, limit, clock).await;
        })
    }

    fn recovered<'a>(&'a self, profile: &'a str) -> RecoveryFuture<'a> {
        Box::pin(async move {
            let Some(entry) = self.find(profile) else {
                return std::future::pending().await;
            };
            let recovered = |it: &Snapshot| it.failed.is_none() || it.removed;
            entry.subscribe().wait_for(recovered).await;
        })
    }
}

/// Waits until the last refresh of a profile has failed; never completes for an unknown profile.
async fn last_failure(store: &Store, name: &str) -> Arc<RefreshError> {
    while let Some(entry) = store.find(name) {
        let settled = |it: &Snapshot| it.failed.is_some() || it.removed;
        let snapshot = entry.subscribe().wait_for(settled).await;
        if let Some(failed) = snapshot.failed {
            return failed;
        }
        // A reload has replaced the entry; the next one is in the store by now.
        tokio::task::yield_now().await;
    }
    std::future::pending().await
}

fn identity_of(session: &Session) -> ResolvedIdentity {
    ResolvedIdentity {
        proof: Arc::new(Proof::Credentials(SourceCredentials {
            access_key_id: session.access_key_id.clone(),
            access_key_secret: session.access_key_secret.clone(),
            security_token: Some(session.security_token.clone()),
        })),
        asked: session.lifetime.began,
        end: Some(Expiry {
            expiration: session.expiration,
            issued: session.issued,
            at: session.lifetime.ends,
        }),
    }
}
