//! AWS Signature Version 4 for the service `s3`, in the `Authorization` header. AWS SDKs send it
//! to OSS's S3-compatible endpoint.
//!
//! The rules are those of AWS's page "Create a signed AWS API request": the path is escaped once
//! and never normalized, `host` and each `x-amz-*` header must be signed, and
//! `x-amz-content-sha256` is the body's hash or `UNSIGNED-PAYLOAD`. Bodies that are signed in
//! chunks (`STREAMING-…`) and presigned URLs are not emulated.

use crate::{
    clock::parse_compact,
    encoding::{hex_sha256, percent_decode, percent_encode, percent_encode_path},
    http::request::HttpRequest,
    oss::{
        error::OssError,
        signature::claim::{ClaimedSignature, Family, Scope, Validity},
    },
};

/// The beginning of the `Authorization` header.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Parses the `Authorization` header.
pub(crate) fn parse_header(
    request: &HttpRequest,
    authorization: &str,
) -> Result<ClaimedSignature, OssError> {
    let fields = authorization
        .strip_prefix(ALGORITHM)
        .ok_or_else(|| OssError::argument("Authorization header is invalid."))?;
    let required = |name: &str| {
        fields
            .split(',')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(known, value)| *known == name && !value.is_empty())
            .map(|(_, value)| value)
            .ok_or_else(|| OssError::InvalidArgument(format!("Authorization has no {name}.")))
    };
    let credential = required("Credential")?;
    let (id, scope_text) = credential
        .split_once('/')
        .ok_or_else(|| OssError::argument("The credential has no scope."))?;
    let parts: Vec<&str> = scope_text.split('/').collect();
    let [day, region, "s3", "aws4_request"] = parts[..] else {
        return Err(OssError::argument("The credential's scope is invalid."));
    };
    let date = request.header("x-amz-date").ok_or(OssError::NO_DATE)?;
    let made = parse_compact(date).ok_or(OssError::NO_DATE)?;
    if !date.starts_with(day) || day.len() != 8 {
        return Err(OssError::argument(
            "The credential's day is not that of x-amz-date.",
        ));
    }
    let payload_hash = checked_payload_hash(request)?;
    let signed: Vec<&str> = required("SignedHeaders")?.split(';').collect();
    let is_unsigned =
        |name: &str| (name == "host" || name.starts_with("x-amz-")) && !signed.contains(&name);
    if request.headers.iter().any(|(name, _)| is_unsigned(name)) {
        return Err(OssError::UNSIGNED_HEADERS);
    }
    let canonical_request = canonical_request(request, &signed, payload_hash);
    Ok(ClaimedSignature {
        access_key_id: id.to_owned(),
        token: request.header("x-amz-security-token").map(str::to_owned),
        string_to_sign: format!(
            "{ALGORITHM}\n{date}\n{scope_text}\n{}",
            hex_sha256(canonical_request.as_bytes())
        ),
        canonical_request,
        signature: required("Signature")?.to_owned(),
        validity: Validity::Around(made),
        scope: Some(Scope {
            day: day.to_owned(),
            region: region.to_owned(),
            family: Family::Aws,
        }),
    })
}

/// Returns the hash in `x-amz-content-sha256`, checked against the body.
fn checked_payload_hash(request: &HttpRequest) -> Result<&str, OssError> {
    let sent = request
        .header("x-amz-content-sha256")
        .ok_or_else(|| OssError::argument("The header x-amz-content-sha256 is missing."))?;
    match sent {
        UNSIGNED_PAYLOAD => Ok(sent),
        chunked if chunked.starts_with("STREAMING-") => {
            Err(OssError::NotImplemented(chunked.to_owned()))
        }
        hash if hash == hex_sha256(&request.body) => Ok(sent),
        _ => Err(OssError::ContentMismatch),
    }
}

fn canonical_request(request: &HttpRequest, signed: &[&str], payload_hash: &str) -> String {
    let mut query: Vec<(String, String)> = request
        .query
        .iter()
        .map(|(name, value)| (percent_encode(name), percent_encode(value)))
        .collect();
    query.sort();
    let query: Vec<String> = query
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let headers: String = signed
        .iter()
        .map(|name| {
            let values: Vec<String> = request
                .headers
                .iter()
                .filter(|(known, _)| known == name)
                // Consecutive spaces become one.
                .map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect();
            format!("{name}:{}\n", values.join(","))
        })
        .collect();
    format!(
        "{}\n{}\n{}\n{}\n{}\n{payload_hash}",
        request.method,
        percent_encode_path(&percent_decode(&request.path)),
        query.join("&"),
        headers,
        signed.join(";"),
    )
}
