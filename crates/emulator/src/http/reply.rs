//! An answer before it is HTTP: what was decided, and how it is counted.

/// One answer of one of the services.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// An object's own headers, whose names its owner chose.
    pub(crate) meta: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// `ok` or the error's code, for the counters.
    pub(crate) outcome: String,
}

impl Reply {
    pub(crate) fn ok(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", content_type.to_owned())],
            meta: Vec::new(),
            body: body.into(),
            outcome: "ok".to_owned(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
