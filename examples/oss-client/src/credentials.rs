//! The document of a credential process.

use serde::Deserialize;

/// A session's credentials, or a long-lived key, which has no token.
#[derive(Deserialize)]
pub struct Credentials {
    /// The AccessKey id.
    #[serde(rename = "AccessKeyId")]
    pub id: String,
    /// The secret of the AccessKey.
    #[serde(rename = "AccessKeySecret")]
    pub secret: String,
    /// The security token; empty for a long-lived key.
    #[serde(rename = "SecurityToken", default)]
    pub token: String,
}

impl Credentials {
    /// Reads the document of a credential process; `None` if it is no JSON, or has an empty id or
    /// secret.
    #[must_use]
    pub fn parse(document: &[u8]) -> Option<Self> {
        let document: Self = serde_json::from_slice(document).ok()?;
        let is_complete = !document.id.is_empty() && !document.secret.is_empty();
        is_complete.then_some(document)
    }
}
