//! The JSON requests of the control address.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::Value;

use crate::{account::schema::KeyStatus, jwt::Algorithm};

/// A request for an OIDC token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MintTokenRequest {
    pub(crate) provider: String,
    pub(crate) subject: String,
    pub(crate) audience: Option<Value>,
    pub(crate) issuer: Option<String>,
    #[serde(default)]
    pub(crate) algorithm: Algorithm,
    pub(crate) life: Option<String>,
    pub(crate) begins_in: Option<String>,
}

/// A request for a SAML assertion.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MintAssertionRequest {
    pub(crate) provider: String,
    pub(crate) subject: String,
    pub(crate) roles: Vec<String>,
    pub(crate) session_name: Option<String>,
    pub(crate) audience: Option<String>,
    pub(crate) recipient: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) life: Option<String>,
}

/// A request to set the status of a long-lived key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetKeyStatusRequest {
    pub(crate) id: String,
    pub(crate) status: KeyStatus,
}

/// Parses a request; the error is the text of the reply.
pub(crate) fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| error.to_string())
}

/// Returns the identity provider with that name.
pub(crate) fn find_provider<'a, T>(
    providers: &'a BTreeMap<String, T>,
    kind: &str,
    name: &str,
) -> Result<&'a T, String> {
    let provider = providers.get(name);
    provider.ok_or_else(|| format!("the account model has no {kind} provider {name:?}"))
}

/// Parses a duration such as `10m`, or `-10m` for a time in the past.
pub(crate) fn parse_signed_duration(text: Option<&str>) -> Result<Option<SignedDuration>, String> {
    text.map(|text| {
        text.parse()
            .map_err(|_| format!("{text:?} is not a duration like 10m or -10m"))
    })
    .transpose()
}
