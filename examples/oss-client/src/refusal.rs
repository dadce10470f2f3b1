//! The XML of an OSS answer: the error of a refused request, and single elements.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The error of OSS: its code and its message, and nothing else of the answer, because the answer to a
/// wrong signature repeats the string to sign with the token in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error code, such as `NoSuchKey`; `None` for an answer without one.
    pub code: Option<String>,
    /// The message; `None` for an answer without one.
    pub message: Option<String>,
}

impl Refusal {
    /// Reads the error of an answer. `in_header` is its header `x-oss-err`: the answer to a HEAD has no
    /// body.
    #[must_use]
    pub fn parse(in_header: Option<&str>, body: &[u8]) -> Self {
        let in_header = in_header.and_then(|it| STANDARD.decode(it).ok());
        let xml = String::from_utf8_lossy(in_header.as_deref().unwrap_or(body));
        Self {
            code: element(&xml, "Code"),
            message: element(&xml, "Message"),
        }
    }
}

/// Returns the text of the first element of a name in an XML document; `None` without one.
#[must_use]
pub fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&");
    Some(text)
}
