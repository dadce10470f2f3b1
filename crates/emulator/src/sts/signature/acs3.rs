//! ACS3-HMAC-SHA256: the signature in the `Authorization` header, and the canonical request.
//!
//! The client chooses the signed headers. `host` and each `x-acs-*` header must be among them,
//! because a valid signature would otherwise also fit other values of these headers.

use crate::{
    encoding::{hex_sha256, percent_encode},
    http::request::HttpRequest,
    sts::{
        error::StsError,
        signature::claim::{ClaimedSignature, Scheme},
    },
};

const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// Returns `true` if the request has an ACS3 signature, valid or not.
#[must_use]
pub fn is_present(request: &HttpRequest) -> bool {
    request
        .header("authorization")
        .is_some_and(|value| value.starts_with("ACS3-"))
}

/// Parses the ACS3 signature of a request; `None` for a request without one.
///
/// # Errors
///
/// A part of the signature is missing, or a header that must be signed is not signed.
pub fn parse(request: &HttpRequest) -> Result<Option<ClaimedSignature>, StsError> {
    let Some(authorization) = request
        .header("authorization")
        .filter(|value| value.starts_with("ACS3-"))
    else {
        return Ok(None);
    };
    let fields = authorization
        .strip_prefix(ALGORITHM)
        .and_then(|rest| rest.strip_prefix(' '))
        .ok_or(StsError::InvalidSignatureMethod)?;
    let field = |name: &str| {
        fields
            .split(',')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| incomplete(&format!("Authorization has no {name}.")))
    };
    let header = |name: &str| {
        request
            .header(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| incomplete(&format!("the header {name} is missing.")))
    };
    let signed_headers: Vec<&str> = field("SignedHeaders")?.split(';').collect();
    check_signed_headers(request, &signed_headers)?;
    for required in ["x-acs-action", "x-acs-version", "x-acs-content-sha256"] {
        header(required)?;
    }
    let canonical_request = canonical_request(request, &signed_headers)?;
    Ok(Some(ClaimedSignature {
        scheme: Scheme::Acs3,
        access_key_id: field("Credential")?.to_owned(),
        timestamp: header("x-acs-date")?.to_owned(),
        nonce: header("x-acs-signature-nonce")?.to_owned(),
        security_token: request
            .header("x-acs-security-token")
            .filter(|token| !token.is_empty())
            .map(str::to_owned),
        string_to_sign: format!("{ALGORITHM}\n{}", hex_sha256(canonical_request.as_bytes())),
        canonical_request,
        signature: field("Signature")?.to_owned(),
    }))
}

fn check_signed_headers(request: &HttpRequest, signed_headers: &[&str]) -> Result<(), StsError> {
    let must_be_signed = request
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| *name == "host" || name.starts_with("x-acs-"));
    for name in must_be_signed {
        if !signed_headers.contains(&name) {
            return Err(incomplete(&format!("the header {name} is not signed.")));
        }
    }
    Ok(())
}

/// Returns the canonical request, with the hash of the received body: the hash in the header may
/// be wrong.
fn canonical_request(request: &HttpRequest, signed_headers: &[&str]) -> Result<String, StsError> {
    let mut query: Vec<&(String, String)> = request.query.iter().collect();
    query.sort();
    let query: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)))
        .collect();
    let mut headers = String::new();
    for name in signed_headers {
        let value = request
            .header(name)
            .ok_or_else(|| incomplete(&format!("the signed header {name} is missing.")))?;
        headers.push_str(&format!("{name}:{value}\n"));
    }
    Ok(format!(
        "{}\n{}\n{}\n{headers}\n{}\n{}",
        request.method,
        if request.path.is_empty() {
            "/"
        } else {
            &request.path
        },
        query.join("&"),
        signed_headers.join(";"),
        hex_sha256(&request.body),
    ))
}

fn incomplete(what: &str) -> StsError {
    StsError::IncompleteSignature(what.to_owned())
}
