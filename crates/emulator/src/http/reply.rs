//! The reply of a service, before the server adds the common headers.

use bytes::Bytes;

/// The outcome of a successful call, in the counters.
pub(crate) const OK: &str = "ok";

/// One reply of one service.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The user metadata of an object. The client has chosen the names of these headers.
    pub(crate) user_metadata: Vec<(String, String)>,
    pub(crate) body: Bytes,
    /// [`OK`] or the error's code, for the counters.
    pub(crate) outcome: String,
}

impl Reply {
    pub(crate) fn ok(content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", content_type.to_owned())],
            user_metadata: Vec::new(),
            body: body.into(),
            outcome: OK.to_owned(),
        }
    }

    /// Returns the reply with one header more.
    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
