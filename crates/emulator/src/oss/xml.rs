//! The XML of OSS: documents of flat fields, and the few elements that a request can contain.

use std::fmt::Display;

use crate::{
    encoding::{escape_xml, percent_encode_path},
    http::request::HttpRequest,
    oss::error::OssError,
};

/// The encoding of keys in a reply: the parameter `encoding-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyEncoding {
    Plain,
    Url,
}

/// A document of a reply.
pub(crate) struct Document {
    root: &'static str,
    text: String,
}

impl KeyEncoding {
    pub(crate) fn parse(request: &HttpRequest) -> Result<Self, OssError> {
        match request.query_parameter("encoding-type") {
            None | Some("") => Ok(Self::Plain),
            Some("url") => Ok(Self::Url),
            Some(_) => Err(OssError::argument("encoding-type must be url.")),
        }
    }

    /// Returns a key or prefix as the text of an element.
    pub(crate) fn encode(self, name: &str) -> String {
        match self {
            Self::Plain => escape_xml(name),
            Self::Url => percent_encode_path(name),
        }
    }
}

impl Document {
    pub(crate) fn new(root: &'static str) -> Self {
        Self {
            root,
            text: format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}>\n"),
        }
    }

    /// Adds an element with an escaped text.
    pub(crate) fn field(&mut self, tag: &str, text: impl Display) {
        self.raw(tag, &escape_xml(&text.to_string()));
    }

    /// Adds an element with a key or prefix.
    pub(crate) fn key(&mut self, tag: &str, key: &str, encoding: KeyEncoding) {
        self.raw(tag, &encoding.encode(key));
    }

    /// Adds the field `EncodingType`, unless keys are plain.
    pub(crate) fn encoding_type(&mut self, encoding: KeyEncoding) {
        if encoding == KeyEncoding::Url {
            self.field("EncodingType", "url");
        }
    }

    /// Adds an element that contains the elements that `add` adds.
    pub(crate) fn group(&mut self, tag: &str, add: impl FnOnce(&mut Self)) {
        self.text.push_str(&format!("<{tag}>\n"));
        add(self);
        self.text.push_str(&format!("</{tag}>\n"));
    }

    /// Returns the whole text.
    pub(crate) fn finish(mut self) -> String {
        self.text.push_str(&format!("</{}>\n", self.root));
        self.text
    }

    fn raw(&mut self, tag: &str, escaped: &str) {
        self.text.push_str(&format!("  <{tag}>{escaped}</{tag}>\n"));
    }
}

/// Returns the contents of all elements with that name, in the order of the text. An element
/// inside another one of the same name is not found, and a comment is read as elements.
pub(crate) fn elements<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let end = format!("</{name}>");
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(content) = content_after(rest, name) {
        match content {
            StartTag::Empty(after) => {
                found.push("");
                rest = after;
            }
            StartTag::Open(content) => {
                let Some((content, after)) = content.split_once(&end) else {
                    break;
                };
                found.push(content);
                rest = after;
            }
        }
    }
    found
}

/// Returns the decoded text of the first element with that name.
pub(crate) fn element_text(text: &str, name: &str) -> Option<String> {
    elements(text, name).first().map(|text| decode(text.trim()))
}

/// The text behind a start tag.
enum StartTag<'a> {
    Open(&'a str),
    /// `<Name/>`
    Empty(&'a str),
}

/// Returns the text behind the next start tag of an element; `None` without such a tag.
fn content_after<'a>(text: &'a str, name: &str) -> Option<StartTag<'a>> {
    let start = format!("<{name}");
    let mut rest = text;
    loop {
        let (_, after) = rest.split_once(&start)?;
        // `<PartNumber>` is no `<Part>`.
        if after.starts_with(|c: char| c == '>' || c == '/' || c.is_whitespace()) {
            let (attributes, content) = after.split_once('>')?;
            return Some(match attributes.ends_with('/') {
                true => StartTag::Empty(content),
                false => StartTag::Open(content),
            });
        }
        rest = after;
    }
}

/// Decodes the predefined entities and the character references. SDKs write quotes as `&quot;`,
/// `&#34;` or as they are.
fn decode(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('&') {
        decoded.push_str(plain);
        let reference = after.split_once(';');
        match reference.and_then(|(name, after)| Some((character(name)?, after))) {
            Some((character, after)) => {
                decoded.push(character);
                rest = after;
            }
            None => {
                decoded.push('&');
                rest = after;
            }
        }
    }
    decoded + rest
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_all_sdks_are_read() {
        let text = "<?xml version=\"1.0\"?>\n<CompleteMultipartUpload xmlns=\"http://a/b>\">\
            <Part><ETag>&quot;A&quot;</ETag><PartNumber>1</PartNumber></Part>\
            <Part >\n <PartNumber> 2 </PartNumber>\n <ETag>&#34;B&#x22;</ETag></Part>\
            <Part/></CompleteMultipartUpload>";
        let parts = elements(text, "Part");
        assert_eq!(parts.len(), 3);
        assert_eq!(element_text(parts[0], "ETag").as_deref(), Some("\"A\""));
        assert_eq!(element_text(parts[1], "PartNumber").as_deref(), Some("2"));
        assert_eq!(element_text(parts[1], "ETag").as_deref(), Some("\"B\""));
        assert_eq!(element_text(parts[2], "ETag"), None);
        assert!(elements("<Part><Part", "Part").is_empty());
        assert!(elements("<PartNumber>1</PartNumber>", "Part").is_empty());
    }

    #[test]
    fn references_are_decoded_once() {
        for (text, expected) in [
            ("a &amp;lt; b", "a &lt; b"),
            ("&apos;&#20013;&#x6587;", "'中文"),
            ("&unknown; & &#x110000; &", "&unknown; & &#x110000; &"),
        ] {
            assert_eq!(decode(text), expected);
        }
    }
}
