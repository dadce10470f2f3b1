//! The signature of an OSS request, in one of five forms: V1 and V4, each in a header or in the
//! query of a presigned URL, and AWS's V4 in a header.

pub(crate) mod aws_v4;
pub mod claim;
mod v1;
mod v4;

use self::claim::ClaimedSignature;
pub(crate) use self::v1::SUB_RESOURCES;
use crate::{
    http::request::HttpRequest,
    oss::{
        error::OssError,
        object_address::{ObjectAddress, Readings},
    },
};

/// Parses the signature of a request; `None` for an unsigned request.
///
/// # Errors
///
/// The signature is malformed, or has no readable date.
pub fn parse(
    request: &HttpRequest,
    address: &ObjectAddress,
) -> Result<Option<ClaimedSignature>, OssError> {
    match request.header("authorization") {
        Some(value) if value.starts_with("OSS4-") => {
            v4::parse_header(request, address, value).map(Some)
        }
        Some(value) if value.starts_with(aws_v4::ALGORITHM) => {
            aws_v4::parse_header(request, value).map(Some)
        }
        Some(value) if value.starts_with("OSS ") => {
            v1::parse_header(request, address, value).map(Some)
        }
        Some(_) => Err(OssError::argument(
            "The Authorization header is none of OSS, OSS4-HMAC-SHA256, AWS4-HMAC-SHA256.",
        )),
        None if request.query_parameter("x-oss-signature-version").is_some() => {
            v4::parse_query(request, address).map(Some)
        }
        None if request.query_parameter("OSSAccessKeyId").is_some() => {
            v1::parse_query(request, address).map(Some)
        }
        None => Ok(None),
    }
}

/// Returns the address of a request. A request with two readings has the one that its signature
/// covers, and the bucket of `Host` if the signature covers both or none. `exists` returns `true` for an
/// existing bucket, `secret_of` the secret of an AccessKey id.
pub fn signed_address(
    request: &HttpRequest,
    exists: impl Fn(&str) -> bool,
    secret_of: impl Fn(&str) -> Option<String>,
) -> ObjectAddress {
    let Readings { likely, by_path } = Readings::of_request(request, exists);
    let covers = |address: &ObjectAddress| {
        let claim = parse(request, address).ok().flatten();
        let secret = claim
            .as_ref()
            .and_then(|claim| secret_of(&claim.access_key_id));
        claim
            .zip(secret)
            .is_some_and(|(claim, secret)| claim.is_made_with(&secret))
    };
    match by_path {
        Some(by_path) if !covers(&likely) && covers(&by_path) => by_path,
        _ => likely,
    }
}
