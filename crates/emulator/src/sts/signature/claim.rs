//! What a signed STS request claims, whichever of the two ways it was signed.

use crate::encoding;

/// How an STS request was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Signature parameters among the others; HMAC-SHA1.
    RpcV1,
    /// An `Authorization` header; HMAC-SHA256.
    Acs3,
}

/// A signed request's claims, not yet believed.
#[derive(Debug, Clone)]
pub struct Signed {
    /// How it was signed.
    pub scheme: Scheme,
    /// Whose key signed it.
    pub access_key_id: String,
    /// When, as sent.
    pub timestamp: String,
    /// Once only.
    pub nonce: String,
    /// The token of a temporary key.
    pub security_token: Option<String>,
    /// What was to be signed, as this side computes it.
    pub string_to_sign: String,
    /// ACS3's canonical request; empty for RPC.
    pub canonical_request: String,
    /// The signature as sent.
    pub signature: String,
}

impl Signed {
    /// The signature that the holder of `secret` would have sent.
    #[must_use]
    pub fn signature_by(&self, secret: &str) -> String {
        let text = self.string_to_sign.as_bytes();
        match self.scheme {
            Scheme::RpcV1 => {
                encoding::base64(&encoding::hmac_sha1(format!("{secret}&").as_bytes(), text))
            }
            Scheme::Acs3 => encoding::hex(&encoding::hmac_sha256(secret.as_bytes(), text)),
        }
    }

    /// Whether the holder of `secret` signed this.
    #[must_use]
    pub fn is_signed_by(&self, secret: &str) -> bool {
        self.signature_by(secret) == self.signature
    }
}
