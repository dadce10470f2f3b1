//! The bodies of the HTTP endpoint: one document of credentials for all SDKs, and errors.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use stsd_document::Format;
use stsd_secret::SecretBytes;

use crate::session::snapshot::Session;

/// An error, in the form that SDKs copy into their exceptions.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ErrorBody<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

/// The document of a session, encoded once; the bytes stay in the memory for secrets.
struct Body(Arc<Session>);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        let document = self
            .0
            .answers
            .document
            .get_or_init(|| Box::new(encode(&self.0)));
        document.expose()
    }
}

/// Returns the document of a session, without a copy.
pub(super) fn of(session: Arc<Session>) -> Bytes {
    Bytes::from_owner(Body(session))
}

/// Returns the document. The requirements of the SDKs were read in their sources and tested:
/// `Code` (Python, Java, C#, oss2, aliyun-cli), times without fractions and with a plain `Z`
/// (Python), all values as strings (Java).
fn encode(session: &Session) -> SecretBytes {
    // The rendering fails only for times out of range, and the times of a session were parsed.
    let document = session.document(Format::Uri).unwrap_or_default();
    document.trim_end().as_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_has_the_fields_of_all_sdks() {
        let session = Arc::new(Session::sample());
        let bytes = of(Arc::clone(&session));
        let expected = "{\"Code\":\"Success\",\"AccessKeyId\":\"STS.SAMPLE\",\
            \"AccessKeySecret\":\"secret\",\"SecurityToken\":\"token\",\
            \"Expiration\":\"2026-11-18T13:00:00Z\",\"LastUpdated\":\"2026-11-18T12:00:00Z\",\
            \"SecretAccessKey\":\"secret\",\"Token\":\"token\"}";
        assert_eq!(bytes, expected);
    }
}
