//! A source for the tests of other rooms.

use std::sync::Arc;

use stsd_sts::{Proof, SecretText, SourceCredentials};

use super::{CachedIdentity, Identity, ResolveContext, ResolveFuture, ResolvedIdentity};

/// A key that is always there.
#[derive(Debug)]
struct Fixed;

impl Identity for Fixed {
    fn resolve<'a>(&'a self, context: ResolveContext<'a>) -> ResolveFuture<'a> {
        Box::pin(async move {
            Ok(ResolvedIdentity {
                proof: Arc::new(Proof::Credentials(SourceCredentials {
                    access_key_id: "LTAI".into(),
                    access_key_secret: SecretText::from("long-lived".to_owned()),
                    security_token: None,
                })),
                asked: context.clock.boot(),
                end: None,
            })
        })
    }

    fn describe(&self) -> String {
        "the sample".to_owned()
    }
}

impl CachedIdentity {
    /// Makes a source that gives a key, always.
    pub(crate) fn sample() -> Self {
        Self::new(&["sample"], Fixed)
    }
}
