//! RPC signature V1: the signature among the parameters, and the string to sign.
//!
//! Clients escape parameters in different ways: a space as `+` or as `%20`. The string to sign is
//! therefore built from decoded parameters, which are escaped again.

use crate::{
    encoding::percent_encode,
    http::request::HttpRequest,
    sts::{
        error::StsError,
        signature::claim::{ClaimedSignature, Scheme},
    },
};

/// Parses the RPC signature of a request; `None` for an unsigned request.
///
/// # Errors
///
/// A part of the signature is missing, or the signature method is another one.
pub fn parse(request: &HttpRequest) -> Result<Option<ClaimedSignature>, StsError> {
    let parameters = request.parameters();
    let value = |name| parameters.non_empty(name);
    if value("Signature").is_none() && value("AccessKeyId").is_none() {
        return Ok(None);
    }
    let required = |name: &'static str| {
        value(name)
            .map(str::to_owned)
            .ok_or(StsError::Missing(name))
    };
    let access_key_id = required("AccessKeyId")?;
    if required("SignatureMethod")? != "HMAC-SHA1" {
        return Err(StsError::InvalidSignatureMethod);
    }
    if required("SignatureVersion")? != "1.0" {
        return Err(StsError::IncompleteSignature(
            "SignatureVersion must be 1.0.".to_owned(),
        ));
    }
    Ok(Some(ClaimedSignature {
        scheme: Scheme::RpcV1,
        access_key_id,
        timestamp: required("Timestamp")?,
        nonce: required("SignatureNonce")?,
        security_token: value("SecurityToken").map(str::to_owned),
        string_to_sign: string_to_sign(&request.method, parameters.pairs()),
        canonical_request: String::new(),
        signature: required("Signature")?,
    }))
}

/// Returns the string to sign: all parameters but `Signature`, sorted by name.
#[must_use]
pub fn string_to_sign(method: &str, pairs: &[(String, String)]) -> String {
    let mut signed: Vec<&(String, String)> = pairs
        .iter()
        .filter(|(name, _)| name != "Signature")
        .collect();
    signed.sort();
    let canonical: Vec<String> = signed
        .iter()
        .map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)))
        .collect();
    format!("{method}&%2F&{}", percent_encode(&canonical.join("&")))
}
