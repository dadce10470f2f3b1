//! The operations of a multipart upload, but for its lists.
//!
//! The rules are those of OSS's pages on `InitiateMultipartUpload`, `UploadPart`, `UploadPartCopy`,
//! `CompleteMultipartUpload` and `AbortMultipartUpload`. An upload belongs to the object, not to the
//! session that initiated the upload: each call is authorized by its own signature.

use bytes::Bytes;

use crate::{
    clock::{RequestTime, iso_millis},
    encoding::{base64, md5, random_text},
    http::{reply::Reply, request::HttpRequest},
    oss::{
        copy::find_source_range,
        error::OssError,
        object::{check_key, check_overwrite, checked_body, kept_headers, no_content, store},
        object_address::ObjectAddress,
        xml::{Document, KeyEncoding, element_text, elements},
    },
    state::{
        EmulatorState,
        uploads::{CompleteError, NamedPart, Part, Upload},
    },
    sync::lock,
};

/// Maximum number of a part.
const MAX_PART_NUMBER: u16 = 10_000;

/// The alphabet and the length of an upload id.
const UPLOAD_ID_ALPHABET: &[u8] = b"0123456789ABCDEF";
const UPLOAD_ID_CHARS: usize = 32;

pub(super) fn initiate(
    state: &EmulatorState,
    request: &HttpRequest,
    address: &ObjectAddress,
    now: RequestTime,
) -> Result<Reply, OssError> {
    check_key(address)?;
    check_overwrite(state, request, address)?;
    let encoding = KeyEncoding::parse(request)?;
    let headers = kept_headers(request);
    let upload = Upload::new(&address.bucket, &address.key, headers, now.server);
    let id = random_text(UPLOAD_ID_ALPHABET, UPLOAD_ID_CHARS);
    lock(&state.objects)
        .add_upload(&id, upload)
        .map_err(|_| OssError::QuotaExceeded)?;
    let mut document = Document::new("InitiateMultipartUploadResult");
    document.encoding_type(encoding);
    document.field("Bucket", &address.bucket);
    document.key("Key", &address.key, encoding);
    document.field("UploadId", &id);
    Ok(Reply::ok("application/xml", document.finish()))
}

pub(super) fn upload_part(
    state: &EmulatorState,
    request: &HttpRequest,
    address: &ObjectAddress,
    now: RequestTime,
) -> Result<Reply, OssError> {
    let content = checked_body(request)?;
    let md5 = base64(&md5(&content));
    let part = add_part(state, request, address, content, now)?;
    Ok(Reply::ok("application/xml", "")
        .with_header("etag", part.etag)
        .with_header("x-oss-hash-crc64ecma", part.crc64.to_string())
        .with_header("content-md5", md5))
}

pub(super) fn upload_part_copy(
    state: &EmulatorState,
    request: &HttpRequest,
    address: &ObjectAddress,
    now: RequestTime,
) -> Result<Reply, OssError> {
    let content = find_source_range(state, request)?;
    let part = add_part(state, request, address, content, now)?;
    let mut document = Document::new("CopyPartResult");
    document.field("LastModified", iso_millis(part.modified));
    document.field("ETag", &part.etag);
    let reply = Reply::ok("application/xml", document.finish());
    Ok(reply.with_header("x-oss-hash-crc64ecma", part.crc64.to_string()))
}

pub(super) fn complete(
    state: &EmulatorState,
    request: &HttpRequest,
    address: &ObjectAddress,
    now: RequestTime,
) -> Result<Reply, OssError> {
    let encoding = KeyEncoding::parse(request)?;
    let id = upload_id(request);
    let upload = find_upload(state, address, id)?;
    let named = named_parts(request, &upload)?;
    check_overwrite(state, request, address)?;
    let object = upload.complete(&named, now.server).map_err(refusal)?;
    let (etag, crc64) = (object.etag.clone(), object.crc64.to_string());
    // The parts leave first, so that the object takes their place within the maximum.
    lock(&state.objects).remove_upload(id);
    store(state, address, object)?;
    let mut document = Document::new("CompleteMultipartUploadResult");
    document.encoding_type(encoding);
    let host = request.header("host").unwrap_or_default();
    document.field("Location", format!("http://{host}{}", request.path));
    document.field("Bucket", &address.bucket);
    document.key("Key", &address.key, encoding);
    document.field("ETag", &etag);
    Ok(Reply::ok("application/xml", document.finish())
        .with_header("etag", etag)
        .with_header("x-oss-hash-crc64ecma", crc64))
}

pub(super) fn abort(
    state: &EmulatorState,
    request: &HttpRequest,
    address: &ObjectAddress,
) -> Result<Reply, OssError> {
    let id = upload_id(request);
    check_upload(state, address, id)?;
    lock(&state.objects).remove_upload(id);
    Ok(no_content())
}

/// Returns the unfinished upload with that id.
pub(super) fn find_upload(
    state: &EmulatorState,
    address: &ObjectAddress,
    id: &str,
) -> Result<Upload, OssError> {
    // A clone shares the bytes of the parts.
    lock(&state.objects)
        .upload(&address.bucket, &address.key, id)
        .cloned()
        .ok_or(OssError::NoSuchUpload)
}

pub(super) fn upload_id(request: &HttpRequest) -> &str {
    request.query_parameter("uploadId").unwrap_or_default()
}

/// Checks that an upload is unfinished, without the copy of [`find_upload`].
fn check_upload(state: &EmulatorState, address: &ObjectAddress, id: &str) -> Result<(), OssError> {
    let objects = lock(&state.objects);
    let upload = objects.upload(&address.bucket, &address.key, id);
    upload.map(|_| ()).ok_or(OssError::NoSuchUpload)
}

fn add_part(
    state: &EmulatorState,
    request: &HttpRequest,
    address: &ObjectAddress,
    content: Bytes,
    now: RequestTime,
) -> Result<Part, OssError> {
    let number = request.query_parameter("partNumber").unwrap_or_default();
    let number = part_number(number)?;
    let id = upload_id(request);
    check_upload(state, address, id)?;
    let part = Part::new(content, now.server);
    lock(&state.objects)
        .put_part(id, number, part.clone())
        .map_err(|_| OssError::QuotaExceeded)?;
    Ok(part)
}

fn part_number(text: &str) -> Result<u16, OssError> {
    let number = text.parse().ok();
    number
        .filter(|number| (1..=MAX_PART_NUMBER).contains(number))
        .ok_or(OssError::InvalidPartNumber)
}

/// Returns the parts in the body of a request to complete an upload, or all uploaded parts for
/// `x-oss-complete-all: yes`.
fn named_parts(request: &HttpRequest, upload: &Upload) -> Result<Vec<NamedPart>, OssError> {
    if request.header("x-oss-complete-all") == Some("yes") {
        return match request.body.is_empty() {
            true => Ok(upload.all_parts()),
            false => Err(OssError::argument(
                "The body must be empty with x-oss-complete-all.",
            )),
        };
    }
    let body = std::str::from_utf8(&request.body).map_err(|_| OssError::MalformedXml)?;
    elements(body, "Part").into_iter().map(named_part).collect()
}

fn named_part(element: &str) -> Result<NamedPart, OssError> {
    let number = element_text(element, "PartNumber").ok_or(OssError::MalformedXml)?;
    let etag = element_text(element, "ETag").ok_or(OssError::MalformedXml)?;
    Ok(NamedPart {
        number: part_number(&number)?,
        etag: etag.trim_matches('"').to_owned(),
    })
}

fn refusal(error: CompleteError) -> OssError {
    match error {
        CompleteError::NoParts => OssError::MalformedXml,
        CompleteError::Order => OssError::InvalidPartOrder,
        CompleteError::Part => OssError::InvalidPart,
        CompleteError::TooSmall => OssError::EntityTooSmall,
    }
}
