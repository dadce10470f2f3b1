//! `CopyObject`, and the source of a copy.

use crate::{
    clock::{RequestTime, iso_millis},
    encoding::percent_decode,
    http::{reply::Reply, request::HttpRequest},
    oss::{
        error::OssError,
        object::{check_key, check_overwrite, find, kept_headers, store},
        object_address::ObjectAddress,
        range::ByteRange,
        xml::Document,
    },
    state::{EmulatorState, objects::Object},
};

/// The headers that name the source of a copy.
pub(crate) const COPY_SOURCE_HEADERS: &[&str] = &["x-oss-copy-source", "x-amz-copy-source"];

/// Returns the source of a copy; `None` for a request that copies nothing.
///
/// # Errors
///
/// The header has another format than `/BUCKET/KEY`. AWS SDKs leave the first slash out.
pub(crate) fn source(request: &HttpRequest) -> Result<Option<ObjectAddress>, OssError> {
    let error = || OssError::argument("Copy source must be in the format /BUCKET/KEY.");
    let text = match (
        request.header("x-oss-copy-source"),
        request.header("x-amz-copy-source"),
    ) {
        (Some(text), _) => text.strip_prefix('/').ok_or_else(error)?,
        (None, Some(text)) => text.strip_prefix('/').unwrap_or(text),
        (None, None) => return Ok(None),
    };
    if text.contains("?versionId=") {
        return Err(OssError::NotImplemented("versionId".to_owned()));
    }
    let text = percent_decode(text);
    match text.split_once('/') {
        Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => Ok(Some(ObjectAddress {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })),
        _ => Err(error()),
    }
}

/// Returns the object that a copy reads.
pub(super) fn find_source(
    state: &EmulatorState,
    request: &HttpRequest,
) -> Result<Object, OssError> {
    let source = source(request)?.ok_or_else(|| OssError::argument("Copy source is missing."))?;
    find(state, &source)
}

/// Returns the object that a copy reads, cut to the range of an `UploadPartCopy`.
pub(super) fn find_source_range(
    state: &EmulatorState,
    request: &HttpRequest,
) -> Result<bytes::Bytes, OssError> {
    let object = find_source(state, request)?;
    let header = |name| request.header(name);
    let range = header("x-oss-copy-source-range").or_else(|| header("x-amz-copy-source-range"));
    let Some(range) = range else {
        return Ok(object.content);
    };
    match ByteRange::parse(range, object.content.len()) {
        Some(ByteRange::Part(first, last)) => Ok(object.content.slice(first..=last)),
        Some(ByteRange::Outside) => Err(OssError::InvalidRange),
        None => Err(OssError::argument("Copy source range is invalid.")),
    }
}

pub(super) fn run(
    state: &EmulatorState,
    request: &HttpRequest,
    address: &ObjectAddress,
    now: RequestTime,
) -> Result<Reply, OssError> {
    check_key(address)?;
    check_overwrite(state, request, address)?;
    let source = find_source(state, request)?;
    let header = |name| request.header(name);
    let directive =
        header("x-oss-metadata-directive").or_else(|| header("x-amz-metadata-directive"));
    let headers = match directive {
        None | Some("COPY") => source.headers,
        Some("REPLACE") => kept_headers(request),
        Some(_) => {
            return Err(OssError::argument(
                "The metadata directive must be COPY or REPLACE.",
            ));
        }
    };
    let object = Object::new(source.content, headers, now.server);
    let mut document = Document::new("CopyObjectResult");
    document.field("ETag", &object.etag);
    document.field("LastModified", iso_millis(object.modified));
    let crc64 = object.crc64.to_string();
    store(state, address, object)?;
    let reply = Reply::ok("application/xml", document.finish());
    Ok(reply.with_header("x-oss-hash-crc64ecma", crc64))
}
