//! Tokens of the OIDC providers, valid and invalid ones.

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use crate::{
    clock::saturating_add,
    control::request::{self, MintTokenRequest},
    state::EmulatorState,
};

const DEFAULT_LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// Returns a token with the requested claims.
///
/// # Errors
///
/// The request is invalid. The text is the message of the reply.
pub(crate) fn mint(state: &EmulatorState, json: &[u8]) -> Result<Value, String> {
    let request: MintTokenRequest = request::parse(json)?;
    let providers = &state.account.oidc_providers;
    let provider = request::find_provider(providers, "OIDC", &request.provider)?;
    if provider.keys.is_some() {
        return Err(format!(
            "the OIDC provider {:?} has a jwks: its issuer signs its tokens",
            request.provider
        ));
    }
    let now = state.clock.now();
    let lifetime =
        request::parse_signed_duration(request.life.as_deref())?.unwrap_or(DEFAULT_LIFETIME);
    let expiration = saturating_add(now, lifetime);
    // An expired token was valid once, so that it was issued before its expiration.
    let issued = match request::parse_signed_duration(request.begins_in.as_deref())? {
        Some(delay) => saturating_add(now, delay),
        None => now.min(saturating_add(expiration, -DEFAULT_LIFETIME)),
    };
    let audience = request
        .audience
        .unwrap_or_else(|| json!(provider.client_ids.first()));
    let claims = Map::from_iter([
        (
            "iss".to_owned(),
            json!(request.issuer.as_deref().unwrap_or(&provider.issuer)),
        ),
        ("sub".to_owned(), json!(request.subject)),
        ("aud".to_owned(), audience),
        ("exp".to_owned(), json!(expiration.as_second())),
        ("iat".to_owned(), json!(issued.as_second())),
        ("nbf".to_owned(), json!(issued.as_second())),
    ]);
    Ok(json!({ "token": state.oidc_keys.sign(request.algorithm, claims) }))
}
