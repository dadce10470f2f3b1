//! One HTTP request, read to its end and decoded once for every check after it.

use crate::encoding;

/// A request as its signature sees it: decoded parameters, lower-case header names.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// The verb, in capitals.
    pub method: String,
    /// The path as it was sent, still escaped.
    pub path: String,
    /// The query, decoded, in the order sent; an empty value stays.
    pub query: Vec<(String, String)>,
    /// Headers in the order sent; names are lower case, values trimmed.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl HttpRequest {
    /// Takes a request apart; `target` is the request line's second word.
    #[must_use]
    pub fn new<'a>(
        method: &str,
        target: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: Vec<u8>,
    ) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            method: method.to_ascii_uppercase(),
            path: path.to_owned(),
            query: encoding::decode_form(query),
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
            body,
        }
    }

    /// The first header of that lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    /// The first query parameter of that name, decoded.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        first(&self.query, name)
    }

    /// The query's parameters, then those of a form in the body.
    #[must_use]
    pub fn parameters(&self) -> Parameters {
        let mut pairs = self.query.clone();
        let is_form = self
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if is_form {
            pairs.extend(encoding::decode_form(&String::from_utf8_lossy(&self.body)));
        }
        Parameters { pairs }
    }
}

/// What the caller said, wherever in the request it was said.
#[derive(Debug, Clone)]
pub struct Parameters {
    pairs: Vec<(String, String)>,
}

impl Parameters {
    /// The first value under that name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        first(&self.pairs, name)
    }

    /// The same, where an empty value counts as none.
    pub(crate) fn said(&self, name: &str) -> Option<&str> {
        self.value(name).filter(|text| !text.is_empty())
    }

    /// Every pair, in the order sent.
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
