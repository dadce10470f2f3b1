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

use super::{Ask, Asking, End, Identity, Obtained, SourceError, enough};
use crate::{
    profile::ProfileName,
    snapshot::{Cause, Outcome, Session},
    store::Store,
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
            if ask.refused {
                // What becomes of it shows in the session that follows.
                let _ = ask.store.refresh(name, PATIENCE, ask.clock).await;
            }
            // A renewal of that profile comes at half of its session's life at the latest; who
            // signs with less than a quarter has missed one.
            let session = ask.store.find(name).and_then(|it| it.snapshot().session);
            let need = session.map_or(Duration::ZERO, |it| enough(it.lifetime.length()));
            let outcome = ask.store.session(name, need, PATIENCE, ask.clock).await;
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
    fn changed(&self, store: &Store) -> bool {
        let entry = store.find(self.name.as_str());
        let mended = entry.is_some_and(|it| it.snapshot().failed.is_none());
        mended && self.failed.load(Ordering::Relaxed)
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
