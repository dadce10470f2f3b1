//! Who we are by the assertion of a SAML provider.

use std::sync::Arc;

use stsd_sts::Proof;

use super::{Ask, Asking, Identity, Obtained, SourceError, Token};
use crate::{runtime::clock::BootTime, session::store::Store};

/// What STS takes, in characters.
const LENGTHS: std::ops::RangeInclusive<usize> = 4..=100_000;

/// An identity by a SAML assertion.
#[derive(Debug)]
pub struct Saml {
    /// `acs:ram::<account>:saml-provider/<name>`.
    pub provider_arn: String,
    /// Where the assertion comes from, base64.
    pub assertion: Token,
}

impl Identity for Saml {
    fn obtain<'a>(&'a self, ask: Ask<'a>) -> Asking<'a> {
        Box::pin(async move {
            let asked = ask.clock.boot();
            let assertion = self
                .assertion
                .read("a SAML assertion in base64", ask.clock)
                .await?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
            let text = assertion.expose();
            if !LENGTHS.contains(&text.len()) || !text.bytes().all(plain) {
                return Err(SourceError::new(
                    self.assertion.subject(),
                    "holds no SAML assertion: base64 in one line",
                    "give what the provider posts as SAMLResponse, unescaped; 100000 characters at most",
                ));
            }
            Ok(Obtained {
                proof: Arc::new(Proof::Saml {
                    provider_arn: self.provider_arn.clone(),
                    assertion,
                }),
                asked,
                end: None,
            })
        })
    }

    fn subject(&self) -> String {
        self.assertion.subject()
    }

    fn changed(&self, _: &Store, now: BootTime) -> bool {
        self.assertion.changed(now)
    }
}
