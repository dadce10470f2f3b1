//! A source for the tests of other rooms.

use std::sync::Arc;

use stsd_sts::{Proof, SecretText, SourceCredentials};

use super::{Ask, Asking, Identity, Obtained, Source};

/// A key that is always there.
#[derive(Debug)]
struct Fixed;

impl Identity for Fixed {
    fn obtain<'a>(&'a self, ask: Ask<'a>) -> Asking<'a> {
        Box::pin(async move {
            Ok(Obtained {
                proof: Arc::new(Proof::Credentials(SourceCredentials {
                    access_key_id: "LTAI".into(),
                    access_key_secret: SecretText::from("long-lived".to_owned()),
                    security_token: None,
                })),
                asked: ask.clock.boot(),
                end: None,
            })
        })
    }

    fn subject(&self) -> String {
        "the sample".to_owned()
    }
}

impl Source {
    /// Makes a source that gives a key, always.
    pub(crate) fn sample() -> Self {
        Self::new(&["sample"], Fixed)
    }
}
