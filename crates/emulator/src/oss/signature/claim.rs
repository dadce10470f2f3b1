//! The fields of a signed OSS request, before the signature is verified.

use jiff::Timestamp;

use crate::encoding::{base64, hex, hmac_sha1, hmac_sha256};

/// The signature of a request and the values that it covers, not yet verified.
#[derive(Debug, Clone)]
pub struct ClaimedSignature {
    /// The AccessKey id of the signer.
    pub access_key_id: String,
    /// The token of a session; `None` for a long-lived key.
    pub token: Option<String>,
    /// The string to sign, as the emulator computes it.
    pub string_to_sign: String,
    /// The canonical request of V4 and of AWS's V4; empty for V1.
    pub canonical_request: String,
    /// The signature, as sent.
    pub signature: String,
    /// The time at which the signature is valid.
    pub validity: Validity,
    /// The scope of the derived key; `None` for V1.
    pub scope: Option<Scope>,
}

/// The time at which a signature is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// In a window around the time at which it was made.
    Around(Timestamp),
    /// From one time to another: a presigned URL.
    Between(Timestamp, Timestamp),
}

/// The day, region and service for which a key is derived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The day, as `YYYYMMDD`.
    pub day: String,
    /// The region, such as `cn-hongkong`; from AWS SDKs also `oss-cn-hongkong`.
    pub region: String,
    /// The rules of the derivation.
    pub family: Family,
}

/// The rules by which a key is derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// OSS's V4.
    Oss,
    /// AWS's V4, for the service `s3`.
    Aws,
}

impl ClaimedSignature {
    /// Returns the correct signature of the request with that secret.
    #[must_use]
    pub fn expected(&self, secret: &str) -> String {
        let text = self.string_to_sign.as_bytes();
        match &self.scope {
            None => base64(&hmac_sha1(secret.as_bytes(), text)),
            Some(scope) => hex(&hmac_sha256(&scope.derive_key(secret), text)),
        }
    }

    /// Returns `true` if the signature was made with that secret.
    #[must_use]
    pub fn is_made_with(&self, secret: &str) -> bool {
        self.expected(secret) == self.signature
    }
}

impl Scope {
    /// Returns `true` if the scope is for buckets of that region.
    pub(crate) fn matches_region(&self, region: &str) -> bool {
        let own = match self.family {
            Family::Oss => &self.region,
            Family::Aws => self.region.strip_prefix("oss-").unwrap_or(&self.region),
        };
        own == region
    }

    fn derive_key(&self, secret: &str) -> Vec<u8> {
        let (prefix, service, terminator) = match self.family {
            Family::Oss => ("aliyun_v4", "oss", "aliyun_v4_request"),
            Family::Aws => ("AWS4", "s3", "aws4_request"),
        };
        [self.day.as_str(), &self.region, service, terminator]
            .iter()
            .fold(format!("{prefix}{secret}").into_bytes(), |key, part| {
                hmac_sha256(&key, part.as_bytes())
            })
    }
}
