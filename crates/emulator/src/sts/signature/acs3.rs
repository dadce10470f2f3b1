//! ACS3-HMAC-SHA256: reads the claims and rebuilds the canonical request.
//!
//! The list of signed headers is the caller's, so it is checked first: `host` and
//! every `x-acs-*` header present must be in it, or a header could be swapped
//! under a good signature.

use crate::{
    encoding::{escape, hex_sha256},
    http::request::HttpRequest,
    sts::{
        error::StsError,
        signature::claim::{Scheme, Signed},
    },
};

const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// Whether the request is signed this way, well or badly.
#[must_use]
pub fn is_used_by(request: &HttpRequest) -> bool {
    request
        .header("authorization")
        .is_some_and(|value| value.starts_with("ACS3-"))
}

/// Reads the claims of an ACS3 request; `None` when it is not signed this way.
///
/// # Errors
///
/// A part of the signature is missing, or a header that must be signed is not.
pub fn read(request: &HttpRequest) -> Result<Option<Signed>, StsError> {
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
    check_coverage(request, &signed_headers)?;
    for needed in ["x-acs-action", "x-acs-version", "x-acs-content-sha256"] {
        header(needed)?;
    }
    let canonical_request = canonical_request(request, &signed_headers)?;
    Ok(Some(Signed {
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

fn check_coverage(request: &HttpRequest, signed_headers: &[&str]) -> Result<(), StsError> {
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

/// The hash is taken of the body as it came, not of what the header says of it.
fn canonical_request(request: &HttpRequest, signed_headers: &[&str]) -> Result<String, StsError> {
    let mut query: Vec<&(String, String)> = request.query.iter().collect();
    query.sort();
    let query: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
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
