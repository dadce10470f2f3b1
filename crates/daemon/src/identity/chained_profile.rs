//! Who we are by another of our profiles: role chaining. This profile's task waits for a
//! session of that one, as any caller would.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use stsd_sts::{Proof, SourceCredentials};

use super::{
    Expiry, Freshness, Identity, RecoveryFuture, ResolveContext, ResolveFuture, ResolvedIdentity,
    SourceError, enough,
};
use crate::{
    profile::{Cause, ProfileName},
    session::{
        snapshot::{RefreshError, Session, SessionResult, Snapshot},
        store::Store,
    },
};

/// How long that profile has for its session, which may be the end of a chain itself.
const SESSION_TIMEOUT: Duration = Duration::from_secs(60);

/// An identity that is another profile's session.
#[derive(Debug)]
pub struct ChainedProfile {
    name: ProfileName,
    /// The last time, it had none.
    last_failed: AtomicBool,
}

impl Identity for ChainedProfile {
    fn resolve<'a>(&'a self, context: ResolveContext<'a>) -> ResolveFuture<'a> {
        Box::pin(async move {
            let name = self.name.as_str();
            let session = context
                .store
                .find(name)
                .and_then(|it| it.snapshot().session);
            // A role that is refused to this profile is no reason to renew that one's session.
            if session.is_some_and(|it| {
                context.freshness == Freshness::Different(&identity_from(&it).proof)
            }) {
                // What becomes of it shows in the session that follows.
                let _ = context
                    .store
                    .refresh(name, SESSION_TIMEOUT, context.clock)
                    .await;
            }
            // A renewal of that profile comes at half of its session's life at the latest; who
            // signs with less than a quarter has missed one.
            let session = context
                .store
                .find(name)
                .and_then(|it| it.snapshot().session);
            let need = session.map_or(Duration::ZERO, |it| enough(it.lifetime.length()));
            let outcome = tokio::select! {
                biased;
                outcome = context.store.session(name, need, SESSION_TIMEOUT, context.clock) => outcome,
                // It tries again by itself, which is noticed; who waits for us hears why.
                failed = last_failure(context.store, name) => SessionResult::Failed(failed),
            };
            let ready = matches!(outcome, SessionResult::Ready(_));
            self.last_failed.store(!ready, Ordering::Relaxed);
            match outcome {
                SessionResult::Ready(session) => Ok(identity_from(&session)),
                outcome => Err(self.error_for(&outcome)),
            }
        })
    }

    fn describe(&self) -> String {
        format!("profile {}", self.name.as_str())
    }

    /// What was mended there is mended here.
    fn recovered<'a>(&'a self, store: &'a Store) -> RecoveryFuture<'a> {
        Box::pin(async move {
            if self.last_failed.load(Ordering::Relaxed)
                && let Some(entry) = store.find(self.name.as_str())
            {
                entry
                    .subscribe()
                    .wait_for(|it| it.failed.is_none() || it.removed)
                    .await;
                return;
            }
            // Gone; and what is not there any more is not mended.
            std::future::pending().await
        })
    }
}

impl ChainedProfile {
    /// Makes the identity that is a profile's session.
    #[must_use]
    pub fn new(name: ProfileName) -> Self {
        Self {
            name,
            last_failed: AtomicBool::new(false),
        }
    }

    fn error_for(&self, outcome: &SessionResult) -> SourceError {
        let hint = format!(
            "mend profile {} first: stsctl status shows it",
            self.name.as_str()
        );
        let (cause, problem, hint) = match outcome {
            SessionResult::Failed(failed) => {
                let problem = format!("has no session to sign with: {}", failed.message);
                (failed.cause, problem, failed.hint.clone())
            }
            SessionResult::Short(_) => {
                let problem = "has a session that is about to end, and no renewal of it".to_owned();
                (Cause::Source, problem, hint)
            }
            SessionResult::NotYet(waited_for) => {
                let problem = format!("has no session to sign with yet: {waited_for}");
                (Cause::Source, problem, hint)
            }
            SessionResult::Ready(_) | SessionResult::Removed | SessionResult::NotAllowed => {
                (Cause::Source, "is not configured any more".to_owned(), hint)
            }
        };
        SourceError {
            cause,
            ..SourceError::new(self.describe(), problem, hint)
        }
    }
}

/// Waits until it is known of a profile that its last attempt has failed.
async fn last_failure(store: &Store, name: &str) -> Arc<RefreshError> {
    while let Some(entry) = store.find(name) {
        let told = |it: &Snapshot| it.failed.is_some() || it.removed;
        let snapshot = entry.subscribe().wait_for(told).await;
        if let Some(failed) = snapshot.failed {
            return failed;
        }
        // A reload has changed it; its successor is there by now.
        tokio::task::yield_now().await;
    }
    std::future::pending().await
}

fn identity_from(session: &Session) -> ResolvedIdentity {
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
