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

use super::{Ask, Asking, End, Identity, Mending, Obtained, SourceError, Wish, enough};
use crate::{
    profile::ProfileName,
    session::{
        snapshot::{Cause, Failed, Outcome, Session, Snapshot},
        store::Store,
    },
};

/// How long that profile has for its session, which may be the end of a chain itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// An identity that is another profile's session.
#[derive(Debug)]
pub struct OfProfile {
    name: ProfileName,
    /// The last time, it had none.
    failed: AtomicBool,
}

impl Identity for OfProfile {
    fn obtain<'a>(&'a self, ask: Ask<'a>) -> Asking<'a> {
        Box::pin(async move {
            let name = self.name.as_str();
            let session = ask.store.find(name).and_then(|it| it.snapshot().session);
            // A role that is refused to this profile is no reason to renew that one's session.
            if session.is_some_and(|it| ask.wish == Wish::Another(&signing(&it).proof)) {
                // What becomes of it shows in the session that follows.
                let _ = ask.store.refresh(name, PATIENCE, ask.clock).await;
            }
            // A renewal of that profile comes at half of its session's life at the latest; who
            // signs with less than a quarter has missed one.
            let session = ask.store.find(name).and_then(|it| it.snapshot().session);
            let need = session.map_or(Duration::ZERO, |it| enough(it.lifetime.length()));
            let outcome = tokio::select! {
                biased;
                outcome = ask.store.session(name, need, PATIENCE, ask.clock) => outcome,
                // It tries again by itself, which is noticed; who waits for us hears why.
                failed = failure(ask.store, name) => Outcome::Failed(failed),
            };
            let ready = matches!(outcome, Outcome::Ready(_));
            self.failed.store(!ready, Ordering::Relaxed);
            match outcome {
                Outcome::Ready(session) => Ok(signing(&session)),
                outcome => Err(self.instead(&outcome)),
            }
        })
    }

    fn subject(&self) -> String {
        format!("profile {}", self.name.as_str())
    }

    /// What was mended there is mended here.
    fn mended<'a>(&'a self, store: &'a Store) -> Mending<'a> {
        Box::pin(async move {
            if self.failed.load(Ordering::Relaxed)
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

impl OfProfile {
    /// Makes the identity that is a profile's session.
    #[must_use]
    pub fn new(name: ProfileName) -> Self {
        Self {
            name,
            failed: AtomicBool::new(false),
        }
    }

    fn instead(&self, outcome: &Outcome) -> SourceError {
        let hint = format!(
            "mend profile {} first: stsctl status shows it",
            self.name.as_str()
        );
        let (cause, problem, hint) = match outcome {
            Outcome::Failed(failed) => {
                let problem = format!("has no session to sign with: {}", failed.message);
                (failed.cause, problem, failed.hint.clone())
            }
            Outcome::Short(_) => {
                let problem = "has a session that is about to end, and no renewal of it".to_owned();
                (Cause::Source, problem, hint)
            }
            Outcome::NotYet(waited_for) => {
                let problem = format!("has no session to sign with yet: {waited_for}");
                (Cause::Source, problem, hint)
            }
            Outcome::Ready(_) | Outcome::Removed | Outcome::NotAllowed => {
                (Cause::Source, "is not configured any more".to_owned(), hint)
            }
        };
        SourceError {
            cause,
            ..SourceError::new(self.subject(), problem, hint)
        }
    }
}

/// Waits until it is known of a profile that its last attempt has failed.
async fn failure(store: &Store, name: &str) -> Arc<Failed> {
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

fn signing(session: &Session) -> Obtained {
    Obtained {
        proof: Arc::new(Proof::Credentials(SourceCredentials {
            access_key_id: session.access_key_id.clone(),
            access_key_secret: session.access_key_secret.clone(),
            security_token: Some(session.security_token.clone()),
        })),
        asked: session.lifetime.began,
        end: Some(End {
            expiration: session.expiration,
            issued: session.issued,
            at: session.lifetime.ends,
        }),
    }
}
