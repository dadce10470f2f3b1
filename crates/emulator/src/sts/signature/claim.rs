//! The fields of a signed STS request, before the signature is verified.

use crate::encoding::{base64, hex, hmac_sha1, hmac_sha256};

/// The way in which an STS request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Parameters of the request, HMAC-SHA1.
    RpcV1,
    /// An `Authorization` header, HMAC-SHA256.
    Acs3,
}

/// The signature of a request and the values that it covers, not yet verified.
#[derive(Debug, Clone)]
pub struct ClaimedSignature {
    /// The way in which the request is signed.
    pub scheme: Scheme,
    /// The AccessKey id of the signer.
    pub access_key_id: String,
    /// The time stamp, as sent.
    pub timestamp: String,
    /// The nonce, which a key may use once.
    pub nonce: String,
    /// The token of a session; `None` for a long-lived key.
    pub security_token: Option<String>,
    /// The string to sign, as the emulator computes it.
    pub string_to_sign: String,
    /// The canonical request of ACS3; empty for RPC V1.
    pub canonical_request: String,
    /// The signature, as sent.
    pub signature: String,
}

impl ClaimedSignature {
    /// Returns the correct signature of the request with that secret.
    #[must_use]
    pub fn expected(&self, secret: &str) -> String {
        let text = self.string_to_sign.as_bytes();
        match self.scheme {
            Scheme::RpcV1 => base64(&hmac_sha1(format!("{secret}&").as_bytes(), text)),
            Scheme::Acs3 => hex(&hmac_sha256(secret.as_bytes(), text)),
        }
    }

    /// Returns `true` if the signature was made with that secret.
    #[must_use]
    pub fn is_made_with(&self, secret: &str) -> bool {
        self.expected(secret) == self.signature
    }
}
