//! The identity of a SAML assertion.

use std::sync::Arc;

use stsd_sts::Proof;

use super::TokenSource;
use crate::{
    profile::{
        IdentityProvider, ResolveContext, ResolveFuture, ResolvedIdentity, Signer, SourceError,
    },
    runtime::clock::BootTime,
};

/// The length of an assertion that STS accepts, in characters.
const ASSERTION_LENGTHS: std::ops::RangeInclusive<usize> = 4..=100_000;

/// The identity of a SAML assertion.
#[derive(Debug)]
pub struct Saml {
    /// `acs:ram::<account>:saml-provider/<name>`.
    pub provider_arn: String,
    /// The source of the assertion, in base64.
    pub assertion: TokenSource,
}

impl IdentityProvider for Saml {
    fn resolve<'a>(&'a self, context: ResolveContext<'a>) -> ResolveFuture<'a> {
        Box::pin(async move {
            let asked = context.clock.boot();
            let assertion = self
                .assertion
                .read("a SAML assertion in base64", context.clock)
                .await?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
            let text = assertion.expose();
            if !ASSERTION_LENGTHS.contains(&text.len()) || !text.bytes().all(plain) {
                return Err(SourceError::new(
                    self.assertion.describe(),
                    "holds no SAML assertion: base64 in one line",
                    "use the SAMLResponse that the provider posts, unescaped; 100000 characters at most",
                ));
            }
            Ok(ResolvedIdentity {
                proof: Arc::new(Proof::Saml {
                    provider_arn: self.provider_arn.clone(),
                    assertion,
                }),
                asked,
                end: None,
            })
        })
    }

    fn describe(&self) -> String {
        self.assertion.describe()
    }

    fn signer(&self) -> Signer {
        Signer::IdentityProvider
    }

    fn has_changed(&self, now: BootTime) -> bool {
        self.assertion.changed(now)
    }
}
