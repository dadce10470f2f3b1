//! An identity provider for tests.

use std::sync::Arc;

use stsd_sts::{Proof, SecretText, SourceCredentials};

use super::{IdentityProvider, ResolveContext, ResolveFuture, ResolvedIdentity};

/// A provider whose key never changes.
#[derive(Debug)]
pub(super) struct FixedKey;

impl IdentityProvider for FixedKey {
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
