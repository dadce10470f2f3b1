//! `DeleteMultipleObjects`.

use crate::{
    http::{reply::Reply, request::HttpRequest},
    oss::{
        error::OssError,
        object::checked_body,
        object_address::ObjectAddress,
        xml::{Document, KeyEncoding, element_text, elements},
    },
    state::EmulatorState,
    sync::lock,
};

/// Maximum number of keys in a request.
const MAX_KEYS: usize = 1000;

/// Returns the keys in the body of a request.
pub(super) fn keys(request: &HttpRequest) -> Result<Vec<String>, OssError> {
    let body = std::str::from_utf8(&request.body).map_err(|_| OssError::MalformedXml)?;
    let keys: Option<Vec<String>> = elements(body, "Object")
        .into_iter()
        .map(|object| element_text(object, "Key").filter(|key| !key.is_empty()))
        .collect();
    keys.filter(|keys| (1..=MAX_KEYS).contains(&keys.len()))
        .ok_or(OssError::MalformedXml)
}

pub(super) fn run(
    state: &EmulatorState,
    request: &HttpRequest,
    address: &ObjectAddress,
) -> Result<Reply, OssError> {
    let encoding = KeyEncoding::parse(request)?;
    checked_body(request)?;
    let keys = keys(request)?;
    let mut objects = lock(&state.objects);
    for key in &keys {
        objects.delete(&address.bucket, key);
    }
    let body = std::str::from_utf8(&request.body).unwrap_or_default();
    let is_quiet = element_text(body, "Quiet").as_deref() == Some("true");
    let mut document = Document::new("DeleteResult");
    document.encoding_type(encoding);
    for key in keys.iter().filter(|_| !is_quiet) {
        document.group("Deleted", |document| document.key("Key", key, encoding));
    }
    Ok(Reply::ok("application/xml", document.finish()))
}
