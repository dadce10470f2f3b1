//! The operations on one object, and the checks that copies and uploads share with them.

use bytes::Bytes;

use crate::{
    clock::{RequestTime, http_date},
    encoding::{base64, md5},
    http::{reply::Reply, request::HttpRequest},
    oss::{error::OssError, object_address::ObjectAddress, range::ByteRange},
    state::{
        EmulatorState,
        objects::{MAX_BODY_BYTES, Object, ObjectHeaders},
    },
    sync::lock,
};

/// Maximum length of a key.
const MAX_KEY_BYTES: usize = 1023;

/// The query parameters that replace a header of the reply to `GetObject`.
const REPLACED_HEADERS: &[(&str, &str)] = &[
    ("response-cache-control", "cache-control"),
    ("response-content-disposition", "content-disposition"),
    ("response-content-encoding", "content-encoding"),
    ("response-content-language", "content-language"),
    ("response-content-type", "content-type"),
    ("response-expires", "expires"),
];

/// Returns a reply without a body.
pub(super) fn no_content() -> Reply {
    let mut reply = Reply::ok("application/xml", "");
    reply.status = 204;
    reply
}

/// Returns the body of a request, checked against its size and `Content-MD5`.
pub(super) fn checked_body(request: &HttpRequest) -> Result<Bytes, OssError> {
    if request.body.len() > MAX_BODY_BYTES {
        return Err(OssError::EntityTooLarge);
    }
    let expected = request.header("content-md5");
    if expected.is_some_and(|expected| expected != base64(&md5(&request.body))) {
        return Err(OssError::InvalidDigest);
    }
    Ok(request.body.clone())
}

/// Checks the length of a key.
pub(super) fn check_key(address: &ObjectAddress) -> Result<(), OssError> {
    if address.key.len() > MAX_KEY_BYTES {
        return Err(OssError::argument("The object's name is too long."));
    }
    Ok(())
}

/// Checks that a request with `x-oss-forbid-overwrite` replaces no object.
pub(super) fn check_overwrite(
    state: &EmulatorState,
    request: &HttpRequest,
    address: &ObjectAddress,
) -> Result<(), OssError> {
    let is_forbidden = request
        .header("x-oss-forbid-overwrite")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    match is_forbidden && find(state, address).is_ok() {
        true => Err(OssError::FileAlreadyExists),
        false => Ok(()),
    }
}

/// Returns the headers of a request that its object keeps.
pub(super) fn kept_headers(request: &HttpRequest) -> ObjectHeaders {
    let content_type = request
        .header("content-type")
        .unwrap_or("application/octet-stream");
    let user_metadata = request
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-oss-meta-") || name.starts_with("x-amz-meta-"))
        .cloned()
        .collect();
    ObjectHeaders {
        content_type: content_type.to_owned(),
        user_metadata,
    }
}

/// Stores an object.
pub(super) fn store(
    state: &EmulatorState,
    address: &ObjectAddress,
    object: Object,
) -> Result<(), OssError> {
    lock(&state.objects)
        .put(&address.bucket, &address.key, object)
        .map_err(|_| OssError::QuotaExceeded)
}

pub(super) fn find(state: &EmulatorState, address: &ObjectAddress) -> Result<Object, OssError> {
    lock(&state.objects)
        .get(&address.bucket, &address.key)
        .cloned()
        .ok_or(OssError::NoSuchKey)
}

pub(super) fn put(
    state: &EmulatorState,
    request: &HttpRequest,
    address: &ObjectAddress,
    now: RequestTime,
) -> Result<Reply, OssError> {
    let content = checked_body(request)?;
    check_key(address)?;
    check_overwrite(state, request, address)?;
    let object = Object::new(content, kept_headers(request), now.server);
    let reply = Reply::ok("application/xml", "")
        .with_header("etag", object.etag.clone())
        .with_header("x-oss-hash-crc64ecma", object.crc64.to_string())
        .with_header("content-md5", base64(&md5(&object.content)));
    store(state, address, object)?;
    Ok(reply)
}

pub(super) fn get(
    state: &EmulatorState,
    request: &HttpRequest,
    address: &ObjectAddress,
) -> Result<Reply, OssError> {
    let object = find(state, address)?;
    let length = object.content.len();
    let mut reply = object_headers(&object);
    for (parameter, header) in REPLACED_HEADERS {
        if let Some(value) = request.query_parameter(parameter) {
            reply.headers.retain(|(name, _)| name != header);
            reply = reply.with_header(header, value);
        }
    }
    let range = request
        .header("range")
        .and_then(|text| ByteRange::parse(text, length));
    match range {
        None => reply.body = object.content,
        Some(ByteRange::Outside) => return Err(OssError::InvalidRange),
        Some(ByteRange::Part(first, last)) => {
            reply.status = 206;
            reply = reply.with_header("content-range", format!("bytes {first}-{last}/{length}"));
            reply.body = object.content.slice(first..=last);
        }
    }
    Ok(reply)
}

pub(super) fn head(state: &EmulatorState, address: &ObjectAddress) -> Result<Reply, OssError> {
    let object = find(state, address)?;
    let length = object.content.len().to_string();
    Ok(object_headers(&object).with_header("content-length", length))
}

pub(super) fn delete(state: &EmulatorState, address: &ObjectAddress) -> Reply {
    lock(&state.objects).delete(&address.bucket, &address.key);
    no_content()
}

fn object_headers(object: &Object) -> Reply {
    let mut reply = Reply::ok(&object.headers.content_type, "")
        .with_header("etag", object.etag.clone())
        .with_header("last-modified", http_date(object.modified))
        .with_header("accept-ranges", "bytes")
        .with_header("x-oss-object-type", object.kind.name())
        .with_header("x-oss-storage-class", "Standard")
        .with_header("x-oss-hash-crc64ecma", object.crc64.to_string());
    reply
        .user_metadata
        .clone_from(&object.headers.user_metadata);
    reply
}
