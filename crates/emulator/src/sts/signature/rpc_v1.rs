//! RPC signature V1: reads the claims and rebuilds the string to sign.
//!
//! Clients escape the wire differently (a space comes as `+` or `%20`), so nothing
//! of the wire's own spelling is used: parameters are decoded, then escaped anew.

use crate::{
    encoding::escape,
    http::request::HttpRequest,
    sts::{
        error::StsError,
        signature::claim::{Scheme, Signed},
    },
};

/// Reads the claims of an RPC request; `None` when it is not signed at all.
///
/// # Errors
///
/// A part of the signature is missing, or made by another method.
pub fn read(request: &HttpRequest) -> Result<Option<Signed>, StsError> {
    let parameters = request.parameters();
    let said = |name| parameters.said(name);
    if said("Signature").is_none() && said("AccessKeyId").is_none() {
        return Ok(None);
    }
    let required =
        |name: &'static str| said(name).map(str::to_owned).ok_or(StsError::Missing(name));
    let access_key_id = required("AccessKeyId")?;
    if required("SignatureMethod")? != "HMAC-SHA1" {
        return Err(StsError::InvalidSignatureMethod);
    }
    if required("SignatureVersion")? != "1.0" {
        return Err(StsError::IncompleteSignature(
            "SignatureVersion must be 1.0.".to_owned(),
        ));
    }
    Ok(Some(Signed {
        scheme: Scheme::RpcV1,
        access_key_id,
        timestamp: required("Timestamp")?,
        nonce: required("SignatureNonce")?,
        security_token: said("SecurityToken").map(str::to_owned),
        string_to_sign: string_to_sign(&request.method, parameters.pairs()),
        canonical_request: String::new(),
        signature: required("Signature")?,
    }))
}

/// The string that an RPC client signs: every parameter but `Signature`, by name.
#[must_use]
pub fn string_to_sign(method: &str, pairs: &[(String, String)]) -> String {
    let mut signed: Vec<&(String, String)> = pairs
        .iter()
        .filter(|(name, _)| name != "Signature")
        .collect();
    signed.sort();
    let canonical: Vec<String> = signed
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
        .collect();
    format!("{method}&%2F&{}", escape(&canonical.join("&")))
}
