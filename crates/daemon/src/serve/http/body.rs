//! Decides what a document looks like: one body for all who take credentials by a URL.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use stsd_document::Format;
use stsd_secret::SecretBytes;

use crate::session::snapshot::Session;

/// Why something cannot be had, in the shape that SDKs put into their exceptions.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ErrorBody<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

/// The document of a session, made once for it; the bytes stay where secrets are kept.
struct Body(Arc<Session>);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        let document = self
            .0
            .answers
            .document
            .get_or_init(|| Box::new(prepare(&self.0)));
        document.expose()
    }
}

/// Returns the document of a session, without a copy.
pub(super) fn of(session: Arc<Session>) -> Bytes {
    Bytes::from_owner(Body(session))
}

/// What each SDK insists on was read in its source and tried: `Code` (Python, Java, C#, oss2,
/// aliyun-cli), times without fractions and with a plain `Z` (Python), all values as strings
/// (Java).
fn prepare(session: &Session) -> SecretBytes {
    // The times of a session were read as such, so there is nothing that cannot be written.
    let document = session.document(Format::Uri).unwrap_or_default();
    document.trim_end().as_bytes().into()
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
