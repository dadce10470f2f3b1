//! The signature algorithms of tokens, and base64url.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

/// The text that [`MARKER`](super::MARKER) encodes. base64 encodes three bytes at a time, so that the
/// text must begin at a multiple of three: after 24 bytes of the header, and after nine of the
/// payload.
pub(crate) const MARKER_TEXT: &str = "EmulatedOidcToken-";

/// The signature algorithm of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(crate) enum Algorithm {
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "ES256")]
    Es256,
}

impl Algorithm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    pub(crate) fn key_id(self) -> String {
        format!("k-{MARKER_TEXT}{}", self.name())
    }
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes base64url; `None` for any other text.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
