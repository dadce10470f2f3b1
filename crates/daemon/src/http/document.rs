//! Decides what a document looks like: one body for all who take credentials by a URL.

use bytes::Bytes;
use serde::Serialize;
use std::sync::Arc;

use crate::snapshot::{Prepared, Session};

/// Credentials for whoever asks by a URL: the instance metadata's keys, which Alibaba Cloud's
/// SDKs read from a credentials URI as well, and the two in which the AWS SDKs' container
/// endpoint differs. `LastUpdated` keeps oss2 from asking again 54 minutes before the end.
///
/// What each SDK insists on was read in its source and tried: `Code` (Python, Java, C#, oss2,
/// aliyun-cli), times without fractions and with a plain `Z` (Python), all values as strings
/// (Java).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    code: &'static str,
    access_key_id: &'a str,
    access_key_secret: &'a str,
    security_token: &'a str,
    expiration: String,
    last_updated: String,
    secret_access_key: &'a str,
    token: &'a str,
}

/// Why something cannot be had, in the shape that SDKs put into their exceptions.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Complaint<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

/// The document of a session, made once for it; the bytes stay where secrets are kept.
struct Body(Arc<Session>);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        let document = self.0.answers.document.get_or_init(|| prepare(&self.0));
        document.0.expose()
    }
}

/// Returns the document of a session, without a copy.
pub(super) fn of(session: Arc<Session>) -> Bytes {
    Bytes::from_owner(Body(session))
}

fn prepare(session: &Session) -> Prepared {
    let secret = session.access_key_secret.expose();
    let token = session.security_token.expose();
    let document = Document {
        code: "Success",
        access_key_id: &session.access_key_id,
        access_key_secret: secret,
        security_token: token,
        expiration: session
            .expiration
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string(),
        last_updated: session.issued.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        secret_access_key: secret,
        token,
    };
    // Large enough from the start, escapes included: a buffer that grows leaves copies.
    let size = 1024 + 12 * (secret.len() + token.len());
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(size));
    // Nothing in it can fail to be written into memory.
    let _ = serde_json::to_writer(&mut *bytes, &document);
    Prepared(bytes[..].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_what_sdks_read() {
        let session = Arc::new(Session::sample());
        let bytes = of(Arc::clone(&session));
        let expected = "{\"Code\":\"Success\",\"AccessKeyId\":\"STS.SAMPLE\",\
            \"AccessKeySecret\":\"secret\",\"SecurityToken\":\"token\",\
            \"Expiration\":\"2026-11-18T13:00:00Z\",\"LastUpdated\":\"2026-11-18T12:00:00Z\",\
            \"SecretAccessKey\":\"secret\",\"Token\":\"token\"}";
        assert_eq!(bytes, expected);
    }
}
