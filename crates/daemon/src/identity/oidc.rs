//! The identity of an OIDC token, such as the one that Kubernetes projects into a pod (RRSA). The
//! token rotates, so that each resolution reads the file again.

use std::sync::Arc;

use stsd_sts::{Proof, SecretText};

use super::TokenSource;
use crate::{
    profile::{
        IdentityProvider, ResolveContext, ResolveFuture, ResolvedIdentity, Signer, SourceError,
    },
    runtime::clock::BootTime,
};

/// The length of a token that STS accepts, in characters.
const TOKEN_LENGTHS: std::ops::RangeInclusive<usize> = 4..=20_000;

/// The identity of an OIDC token.
#[derive(Debug)]
pub struct Oidc {
    /// `acs:ram::<account>:oidc-provider/<name>`.
    pub provider_arn: String,
    /// The source of the token.
    pub token: TokenSource,
}

impl IdentityProvider for Oidc {
    fn resolve<'a>(&'a self, context: ResolveContext<'a>) -> ResolveFuture<'a> {
        Box::pin(async move {
            let asked = context.clock.boot();
            let token = self.token.read("a JSON web token", context.clock).await?;
            if !is_json_web_token(&token) {
                return Err(SourceError::new(
                    self.token.describe(),
                    "holds no JSON web token: three parts of base64url with dots between them",
                    "check the program that writes it; STS accepts 4 to 20000 characters",
                ));
            }
            Ok(ResolvedIdentity {
                proof: Arc::new(Proof::Oidc {
                    provider_arn: self.provider_arn.clone(),
                    token,
                }),
                asked,
                end: None,
            })
        })
    }

    fn describe(&self) -> String {
        self.token.describe()
    }

    fn signer(&self) -> Signer {
        Signer::IdentityProvider
    }

    fn has_changed(&self, now: BootTime) -> bool {
        self.token.changed(now)
    }
}

/// Returns `true` if the token has the shape of a JSON web token. STS checks its signature and its
/// expiration.
fn is_json_web_token(token: &SecretText) -> bool {
    let token = token.expose();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let parts: Vec<_> = token.split('.').collect();
    TOKEN_LENGTHS.contains(&token.len())
        && parts.len() == 3
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_has_three_parts_of_base64url() {
        let check = |text: &str, expected| {
            let token = SecretText::from(text.to_owned());
            assert_eq!(is_json_web_token(&token), expected, "{text}");
        };
        check("eyJh.eyJp.c2ln", true);
        check("eyJh.eyJp.c2-_", true);
        for text in [
            "eyJh.eyJp",
            "eyJh.eyJp.",
            "a.b.c.d",
            "a b.c.d",
            "é.b.c",
            "{\"token\":1}",
        ] {
            check(text, false);
        }
        check(&format!("a.b.{}", "c".repeat(20_000)), false);
    }
}
