//! Assertions of the SAML providers, valid and invalid ones.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    clock::saturating_add,
    control::request::{self, MintAssertionRequest},
    saml::{Assertion, SERVICES, role_attribute},
    state::EmulatorState,
};

const DEFAULT_LIFETIME: SignedDuration = SignedDuration::from_mins(5);

/// Returns an assertion with the requested fields.
///
/// # Errors
///
/// The request is invalid. The text is the message of the reply.
pub(crate) fn mint(state: &EmulatorState, json: &[u8]) -> Result<Value, String> {
    let request: MintAssertionRequest = request::parse(json)?;
    let providers = &state.account.saml_providers;
    let provider = request::find_provider(providers, "SAML", &request.provider)?;
    let lifetime =
        request::parse_signed_duration(request.life.as_deref())?.unwrap_or(DEFAULT_LIFETIME);
    let [(default_audience, default_recipient), _] = SERVICES;
    let assertion = Assertion {
        issuer: request.issuer.unwrap_or_else(|| provider.issuer.clone()),
        session_name: request
            .session_name
            .unwrap_or_else(|| request.subject.clone()),
        subject: request.subject,
        recipient: request
            .recipient
            .unwrap_or_else(|| default_recipient.to_owned()),
        audience: request
            .audience
            .unwrap_or_else(|| default_audience.to_owned()),
        expiration: saturating_add(state.clock.now(), lifetime),
        roles: request
            .roles
            .iter()
            .map(|role| role_attribute(&state.account.id, role, &request.provider))
            .collect(),
    };
    Ok(json!({ "assertion": state.saml_key.seal(&assertion) }))
}
