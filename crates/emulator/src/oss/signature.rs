//! OSS signatures: finds which of five forms a request carries, and reads it.
//!
//! V1 and V4, each in a header or in the query of a presigned URL, and AWS's in a header.

pub(crate) mod aws_v4;
mod v1;
mod v4;

use jiff::Timestamp;

use crate::{
    encoding,
    http::request::HttpRequest,
    oss::{error::OssError, object_address::Place},
};

/// A signed request's claims, not yet believed.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Whose key signed it.
    pub access_key_id: String,
    /// The token of a temporary key.
    pub token: Option<String>,
    /// What was to be signed, as this side computes it.
    pub string_to_sign: String,
    /// The canonical request of V4 and of AWS's; empty for V1.
    pub canonical_request: String,
    /// The signature as sent.
    pub signature: String,
    /// When it is good.
    pub validity: Validity,
    /// What the key was derived for; `None` for V1.
    pub scope: Option<Scope>,
}

/// When a signature is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Around the time it was made.
    Around(Timestamp),
    /// From one time to another: a presigned URL.
    Between(Timestamp, Timestamp),
}

/// What a key is derived for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `YYYYMMDD`.
    pub day: String,
    /// Like `cn-hongkong`; AWS SDKs may be told `oss-cn-hongkong`.
    pub region: String,
    /// Whose rules it is derived by.
    pub family: Family,
}

/// Whose signature it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// OSS's own V4.
    Oss,
    /// AWS's, for the service `s3`.
    Aws,
}

impl Scope {
    /// Whether it is made for a bucket of that region.
    #[must_use]
    pub fn is_for(&self, region: &str) -> bool {
        let own = match self.family {
            Family::Oss => &self.region,
            Family::Aws => self.region.strip_prefix("oss-").unwrap_or(&self.region),
        };
        own == region
    }
}

impl Claim {
    /// Reads the claims; `None` when the request is not signed at all.
    ///
    /// # Errors
    ///
    /// The signature is malformed, or has no readable date.
    pub fn read(request: &HttpRequest, place: &Place) -> Result<Option<Self>, OssError> {
        match request.header("authorization") {
            Some(value) if value.starts_with("OSS4-") => {
                v4::read_header(request, place, value).map(Some)
            }
            Some(value) if value.starts_with(aws_v4::ALGORITHM) => {
                aws_v4::read_header(request, value).map(Some)
            }
            Some(value) if value.starts_with("OSS ") => {
                v1::read_header(request, place, value).map(Some)
            }
            Some(_) => Err(OssError::argument(
                "The Authorization header is none of OSS, OSS4-HMAC-SHA256, AWS4-HMAC-SHA256.",
            )),
            None if request.parameter("x-oss-signature-version").is_some() => {
                v4::read_query(request, place).map(Some)
            }
            None if request.parameter("OSSAccessKeyId").is_some() => {
                v1::read_query(request, place).map(Some)
            }
            None => Ok(None),
        }
    }

    /// The signature that the holder of `secret` would have sent.
    #[must_use]
    pub fn signature_by(&self, secret: &str) -> String {
        let text = self.string_to_sign.as_bytes();
        match &self.scope {
            None => encoding::base64(&encoding::hmac_sha1(secret.as_bytes(), text)),
            Some(scope) => match scope.family {
                Family::Oss => v4::signature(secret, scope, text),
                Family::Aws => aws_v4::signature(secret, scope, text),
            },
        }
    }

    /// Whether the holder of `secret` signed this.
    #[must_use]
    pub fn is_signed_by(&self, secret: &str) -> bool {
        self.signature_by(secret) == self.signature
    }
}
