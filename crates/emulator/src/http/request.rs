//! An HTTP request, read to its end and decoded once for all checks.

use bytes::Bytes;

use crate::encoding::decode_form;

/// A request as its signature covers it: decoded parameters, header names in lower case.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// The method, in upper case.
    pub method: String,
    /// The path as it was sent, with its percent escapes.
    pub path: String,
    /// The decoded parameters of the query, in the order sent, also those with an empty value.
    pub query: Vec<(String, String)>,
    /// The headers in the order sent: names in lower case, values trimmed.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Bytes,
}

/// The parameters of a request, from its query and its form.
#[derive(Debug, Clone)]
pub struct Parameters {
    pairs: Vec<(String, String)>,
}

impl HttpRequest {
    /// Returns a decoded request; `target` is the second word of the request line.
    #[must_use]
    pub fn new<'a>(
        method: &str,
        target: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: impl Into<Bytes>,
    ) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            method: method.to_ascii_uppercase(),
            path: path.to_owned(),
            query: decode_form(query),
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
            body: body.into(),
        }
    }

    /// Returns the value of the first header with that lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    /// Returns the value of the first query parameter with that name.
    #[must_use]
    pub fn query_parameter(&self, name: &str) -> Option<&str> {
        first(&self.query, name)
    }

    /// Returns the parameters of the query, then those of a form in the body.
    #[must_use]
    pub fn parameters(&self) -> Parameters {
        let mut pairs = self.query.clone();
        let is_form = self
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if is_form {
            pairs.extend(decode_form(&String::from_utf8_lossy(&self.body)));
        }
        Parameters { pairs }
    }
}

impl Parameters {
    /// Returns the first value of that parameter.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        first(&self.pairs, name)
    }

    /// Returns the first value of that parameter; `None` also for an empty value.
    pub(crate) fn non_empty(&self, name: &str) -> Option<&str> {
        self.value(name).filter(|text| !text.is_empty())
    }

    /// Returns all pairs, in the order sent.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }
}

fn first<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}
