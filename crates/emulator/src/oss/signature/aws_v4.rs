//! AWS Signature Version 4 for the service `s3`, in the `Authorization` header: what AWS
//! SDKs send to OSS's S3-compatible endpoint.
//!
//! The rules are those of AWS's own page, "Create a signed AWS API request": the path is
//! escaped once and never normalized, `host` and every `x-amz-*` header have to be signed,
//! and the body's hash is what `x-amz-content-sha256` says, or `UNSIGNED-PAYLOAD`. Bodies
//! signed in pieces (`STREAMING-…`) and presigned URLs are not emulated.

use crate::{
    clock::parse_compact,
    encoding::{escape, escape_path, hex, hex_sha256, hmac_sha256, unescape},
    http::request::HttpRequest,
    oss::{
        error::OssError,
        signature::{Claim, Family, Scope, Validity},
    },
};

/// How an `Authorization` of this kind begins.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

pub(crate) fn read_header(request: &HttpRequest, authorization: &str) -> Result<Claim, OssError> {
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
    let payload = payload(request)?;
    let signed: Vec<&str> = required("SignedHeaders")?.split(';').collect();
    let forgotten =
        |name: &str| (name == "host" || name.starts_with("x-amz-")) && !signed.contains(&name);
    if request.headers.iter().any(|(name, _)| forgotten(name)) {
        return Err(OssError::UNSIGNED_HEADERS);
    }
    let canonical_request = canonical_request(request, &signed, payload);
    Ok(Claim {
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

/// What the caller says of its body, which has to be true.
fn payload(request: &HttpRequest) -> Result<&str, OssError> {
    let said = request
        .header("x-amz-content-sha256")
        .ok_or_else(|| OssError::argument("The header x-amz-content-sha256 is missing."))?;
    match said {
        UNSIGNED => Ok(said),
        pieces if pieces.starts_with("STREAMING-") => {
            Err(OssError::NotImplemented(pieces.to_owned()))
        }
        hash if hash == hex_sha256(&request.body) => Ok(said),
        _ => Err(OssError::ContentMismatch),
    }
}

fn canonical_request(request: &HttpRequest, signed: &[&str], payload: &str) -> String {
    let mut query: Vec<(String, String)> = request
        .query
        .iter()
        .map(|(name, value)| (escape(name), escape(value)))
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
                // Spaces in a row count as one.
                .map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect();
            format!("{name}:{}\n", values.join(","))
        })
        .collect();
    format!(
        "{}\n{}\n{}\n{}\n{}\n{payload}",
        request.method,
        escape_path(&unescape(&request.path)),
        query.join("&"),
        headers,
        signed.join(";"),
    )
}

pub(crate) fn signature(secret: &str, scope: &Scope, text: &[u8]) -> String {
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [
        scope.day.as_str(),
        scope.region.as_str(),
        "s3",
        "aws4_request",
    ] {
        key = hmac_sha256(&key, part.as_bytes());
    }
    hex(&hmac_sha256(&key, text))
}
