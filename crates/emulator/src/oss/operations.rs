//! The operations on objects, for a caller that is allowed to run them.

use crate::{
    clock::{RequestTime, http_date},
    encoding::{base64, md5},
    http::{reply::Reply, request::HttpRequest},
    oss::{error::OssError, list, object_address::ObjectAddress, operation::Operation},
    state::{
        EmulatorState,
        objects::{MAX_OBJECT_BYTES, Object},
    },
    sync::lock,
};

/// Maximum length of a key.
const MAX_KEY_BYTES: usize = 1023;

/// Returns the reply to an operation.
pub(crate) fn run(
    state: &EmulatorState,
    operation: Operation,
    request: &HttpRequest,
    address: &ObjectAddress,
    now: RequestTime,
) -> Result<Reply, OssError> {
    match operation {
        Operation::PutObject => put(state, request, address, now),
        Operation::GetObject => {
            let object = find(state, address)?;
            get(object, request)
        }
        Operation::HeadObject | Operation::GetObjectMeta => {
            let object = find(state, address)?;
            let length = object.content.len().to_string();
            let mut reply = object_headers(&object).with_header("content-length", length);
            reply.body = Vec::new();
            Ok(reply)
        }
        Operation::DeleteObject => {
            lock(&state.objects).delete(&address.bucket, &address.key);
            let mut reply = Reply::ok("application/xml", Vec::new());
            reply.status = 204;
            Ok(reply)
        }
        Operation::ListObjects => {
            let objects = lock(&state.objects);
            let xml = list::run(&objects, &address.bucket, &state.account.id, request)?;
            Ok(Reply::ok("application/xml", xml))
        }
        Operation::Other => Err(OssError::NotImplemented(request.method.clone())),
    }
}

fn find(state: &EmulatorState, address: &ObjectAddress) -> Result<Object, OssError> {
    lock(&state.objects)
        .get(&address.bucket, &address.key)
        .cloned()
        .ok_or(OssError::NoSuchKey)
}

fn put(
    state: &EmulatorState,
    request: &HttpRequest,
    address: &ObjectAddress,
    now: RequestTime,
) -> Result<Reply, OssError> {
    if request.body.len() > MAX_OBJECT_BYTES {
        return Err(OssError::EntityTooLarge);
    }
    if address.key.len() > MAX_KEY_BYTES {
        return Err(OssError::argument("The object's name is too long."));
    }
    let expected = request.header("content-md5");
    if expected.is_some_and(|expected| expected != base64(&md5(&request.body))) {
        return Err(OssError::InvalidDigest);
    }
    let content_type = request
        .header("content-type")
        .unwrap_or("application/octet-stream");
    let user_metadata = request
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-oss-meta-") || name.starts_with("x-amz-meta-"))
        .cloned()
        .collect();
    let object = Object::new(
        request.body.clone(),
        content_type,
        user_metadata,
        now.server,
    );
    let reply = Reply::ok("application/xml", Vec::new())
        .with_header("etag", object.etag.clone())
        .with_header("x-oss-hash-crc64ecma", object.crc64.to_string())
        .with_header("content-md5", base64(&md5(&object.content)));
    lock(&state.objects)
        .put(&address.bucket, &address.key, object)
        .map_err(|_| OssError::QuotaExceeded)?;
    Ok(reply)
}

fn get(object: Object, request: &HttpRequest) -> Result<Reply, OssError> {
    let length = object.content.len();
    let mut reply = object_headers(&object);
    if let Some(kind) = request.query_parameter("response-content-type") {
        reply.headers.retain(|(name, _)| *name != "content-type");
        reply = reply.with_header("content-type", kind);
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
            reply.body = object.content[first..=last].to_vec();
        }
    }
    Ok(reply)
}

fn object_headers(object: &Object) -> Reply {
    let mut reply = Reply::ok(&object.content_type, Vec::new())
        .with_header("etag", object.etag.clone())
        .with_header("last-modified", http_date(object.modified))
        .with_header("accept-ranges", "bytes")
        .with_header("x-oss-object-type", "Normal")
        .with_header("x-oss-storage-class", "Standard")
        .with_header("x-oss-hash-crc64ecma", object.crc64.to_string());
    reply.user_metadata.clone_from(&object.user_metadata);
    reply
}

/// The range of a `Range` header, for an object of a given length.
#[derive(Debug, PartialEq, Eq)]
enum ByteRange {
    /// The positions of the first and the last byte.
    Part(usize, usize),
    /// The range begins after the object's end.
    Outside,
}

impl ByteRange {
    /// Parses a header; `None` if it is not a single range, so that the whole object is sent.
    fn parse(text: &str, length: usize) -> Option<Self> {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        if first.is_empty() {
            let suffix: usize = last.parse().ok()?;
            return match (suffix, length) {
                (0, _) | (_, 0) => Some(Self::Outside),
                _ => Some(Self::Part(length.saturating_sub(suffix), length - 1)),
            };
        }
        let first: usize = first.parse().ok()?;
        let last = match last {
            "" => usize::MAX,
            last => last.parse().ok()?,
        };
        if last < first {
            return None;
        }
        if first >= length {
            return Some(Self::Outside);
        }
        Some(Self::Part(first, last.min(length - 1)))
    }
}
