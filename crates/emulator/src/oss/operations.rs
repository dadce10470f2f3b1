//! The operations on objects, once a caller may call them.

use crate::{
    clock::http_date,
    encoding::{base64, md5},
    http::{reply::Reply, request::HttpRequest},
    oss::{error::OssError, list as listing, object_address::Place, service::Operation},
    state::{
        Cloud, Now, hold,
        objects::{LARGEST, Object},
    },
};

pub(crate) fn run(
    cloud: &Cloud,
    operation: Operation,
    request: &HttpRequest,
    place: &Place,
    now: Now,
) -> Result<Reply, OssError> {
    match operation {
        Operation::PutObject => put(cloud, request, place, now),
        Operation::GetObject => {
            let object = find(cloud, place)?;
            get(object, request)
        }
        Operation::HeadObject | Operation::GetObjectMeta => {
            let object = find(cloud, place)?;
            let length = object.bytes.len().to_string();
            let mut reply = describe(&object).with("content-length", length);
            reply.body = Vec::new();
            Ok(reply)
        }
        Operation::DeleteObject => {
            hold(&cloud.objects).delete(&place.bucket, &place.key);
            let mut reply = Reply::ok("application/xml", Vec::new());
            reply.status = 204;
            Ok(reply)
        }
        Operation::ListObjects => {
            let objects = hold(&cloud.objects);
            let xml = listing::list(&objects, &place.bucket, &cloud.world.account, request)?;
            Ok(Reply::ok("application/xml", xml))
        }
        Operation::Other => Err(OssError::NotImplemented(request.method.clone())),
    }
}

fn find(cloud: &Cloud, place: &Place) -> Result<Object, OssError> {
    hold(&cloud.objects)
        .find(&place.bucket, &place.key)
        .cloned()
        .ok_or(OssError::NoSuchKey)
}

fn put(cloud: &Cloud, request: &HttpRequest, place: &Place, now: Now) -> Result<Reply, OssError> {
    if request.body.len() > LARGEST {
        return Err(OssError::EntityTooLarge);
    }
    if place.key.len() > 1023 {
        return Err(OssError::argument("The object's name is too long."));
    }
    let expected = request.header("content-md5");
    if expected.is_some_and(|expected| expected != base64(&md5(&request.body))) {
        return Err(OssError::InvalidDigest);
    }
    let content_type = request
        .header("content-type")
        .unwrap_or("application/octet-stream");
    let meta = request
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-oss-meta-") || name.starts_with("x-amz-meta-"))
        .cloned()
        .collect();
    let object = Object::new(request.body.clone(), content_type, meta, now.by_server);
    let reply = Reply::ok("application/xml", Vec::new())
        .with("etag", object.etag.clone())
        .with("x-oss-hash-crc64ecma", object.crc64.to_string())
        .with("content-md5", base64(&md5(&object.bytes)));
    hold(&cloud.objects).put(&place.bucket, &place.key, object)?;
    Ok(reply)
}

fn get(object: Object, request: &HttpRequest) -> Result<Reply, OssError> {
    let whole = object.bytes.len();
    let mut reply = describe(&object);
    if let Some(kind) = request.parameter("response-content-type") {
        reply.headers.retain(|(name, _)| *name != "content-type");
        reply = reply.with("content-type", kind);
    }
    let wanted = request
        .header("range")
        .and_then(|text| Range::read(text, whole));
    match wanted {
        None => reply.body = object.bytes,
        Some(Range::Outside) => return Err(OssError::InvalidRange),
        Some(Range::Part(first, last)) => {
            reply.status = 206;
            reply = reply.with("content-range", format!("bytes {first}-{last}/{whole}"));
            reply.body = object.bytes[first..=last].to_vec();
        }
    }
    Ok(reply)
}

fn describe(object: &Object) -> Reply {
    let mut reply = Reply::ok(&object.content_type, Vec::new())
        .with("etag", object.etag.clone())
        .with("last-modified", http_date(object.modified))
        .with("accept-ranges", "bytes")
        .with("x-oss-object-type", "Normal")
        .with("x-oss-storage-class", "Standard")
        .with("x-oss-hash-crc64ecma", object.crc64.to_string());
    reply.meta.clone_from(&object.meta);
    reply
}

/// What a `Range` header means for an object of a given length.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// First and last byte.
    Part(usize, usize),
    /// Nothing of it is there.
    Outside,
}

impl Range {
    /// `None` for a header that is no single range: then the whole object is sent.
    fn read(text: &str, whole: usize) -> Option<Self> {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        if first.is_empty() {
            let tail: usize = last.parse().ok()?;
            return match (tail, whole) {
                (0, _) | (_, 0) => Some(Self::Outside),
                _ => Some(Self::Part(whole.saturating_sub(tail), whole - 1)),
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
        if first >= whole {
            return Some(Self::Outside);
        }
        Some(Self::Part(first, last.min(whole - 1)))
    }
}
