//! The OSS service: who is asking, whether the policies allow it, and the operation.

use crc::{CRC_64_XZ, Crc};

use crate::clock::http_date;
use crate::cloud::{Cloud, Now, hold};
use crate::encoding::{base64, hex, md5, request_id};
use crate::objects::{LARGEST, Object};
use crate::oss_error::OssError;
use crate::oss_list;
use crate::oss_sign::{Claim, Validity};
use crate::place::Place;
use crate::policy::Policy;
use crate::reply::Reply;
use crate::request::HttpRequest;

const CRC64: Crc<u64> = Crc::<u64>::new(&CRC_64_XZ);

/// What can be done here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Put,
    Get,
    Head,
    Delete,
    List,
    Unknown,
}

impl Operation {
    fn of(request: &HttpRequest, place: &Place) -> Self {
        match (
            request.method.as_str(),
            place.bucket.as_str(),
            place.key.as_str(),
        ) {
            (_, "", _) => Self::Unknown,
            ("GET", _, "") => Self::List,
            (_, _, "") => Self::Unknown,
            ("PUT", ..) => Self::Put,
            ("GET", ..) => Self::Get,
            ("HEAD", ..) => Self::Head,
            ("DELETE", ..) => Self::Delete,
            _ => Self::Unknown,
        }
    }

    /// The name it is counted and scripted under.
    fn name(self) -> &'static str {
        match self {
            Self::Put => "oss:PutObject",
            Self::Get => "oss:GetObject",
            Self::Head => "oss:HeadObject",
            Self::Delete => "oss:DeleteObject",
            Self::List => "oss:ListObjects",
            Self::Unknown => "oss:other",
        }
    }

    /// The action that a policy must allow.
    fn right(self) -> &'static str {
        match self {
            Self::Head => "oss:GetObject",
            other => other.name(),
        }
    }
}

/// Whoever signed a request: the policies that must all allow what it does.
struct Holder {
    secret: String,
    policies: Vec<Policy>,
}

/// The name a request is counted under.
pub(crate) fn action(cloud: &Cloud, request: &HttpRequest) -> &'static str {
    Operation::of(request, &place(cloud, request)).name()
}

/// Answers one request.
pub(crate) fn answer(cloud: &Cloud, request: &HttpRequest, now: Now) -> Reply {
    match decide(cloud, request, now) {
        Ok(reply) => reply.with("x-oss-request-id", request_id()),
        Err(error) => refusal(request, &error),
    }
}

/// An error as OSS sends it; `HEAD` has no body, so it goes into a header.
pub(crate) fn refusal(request: &HttpRequest, error: &OssError) -> Reply {
    let id = request_id();
    let host = request.header("host").unwrap_or_default();
    let document = error.xml(&id, host);
    let head = request.method == "HEAD";
    let err = base64(document.as_bytes());
    let mut reply = Reply::ok(
        "application/xml",
        if head { String::new() } else { document },
    )
    .with("x-oss-request-id", id)
    .with("x-oss-ec", error.ec());
    if head {
        reply = reply.with("x-oss-err", err);
    }
    reply.status = error.status();
    error.code().clone_into(&mut reply.outcome);
    reply
}

fn place(cloud: &Cloud, request: &HttpRequest) -> Place {
    Place::of(request, |bucket| cloud.world.buckets.contains_key(bucket))
}

fn decide(cloud: &Cloud, request: &HttpRequest, now: Now) -> Result<Reply, OssError> {
    let place = place(cloud, request);
    let operation = Operation::of(request, &place);
    let holder = authenticate(cloud, request, &place, now)?;
    if operation == Operation::Unknown {
        let text = format!("{} {}", request.method, request.path);
        return Err(OssError::NotImplemented(text));
    }
    if !cloud.world.buckets.contains_key(&place.bucket) {
        return Err(OssError::NoSuchBucket);
    }
    let names = names(cloud, &place);
    let allowed = |policy: &Policy| policy.allows(operation.right(), &names);
    if holder.policies.is_empty() || !holder.policies.iter().all(allowed) {
        return Err(OssError::FORBIDDEN);
    }
    match operation {
        Operation::Put => put(cloud, request, &place, now),
        Operation::Get | Operation::Head => get(cloud, request, &place),
        Operation::Delete => {
            hold(&cloud.objects).remove(&place.bucket, &place.key);
            let mut reply = Reply::ok("application/xml", "");
            reply.status = 204;
            Ok(reply)
        }
        Operation::List => {
            let objects = hold(&cloud.objects);
            let document = oss_list::document(request, &place.bucket, &objects)?;
            Ok(Reply::ok("application/xml", document))
        }
        Operation::Unknown => Err(OssError::NoSuchKey),
    }
}

/// Believes a request, or says why not.
fn authenticate(
    cloud: &Cloud,
    request: &HttpRequest,
    place: &Place,
    now: Now,
) -> Result<Holder, OssError> {
    let claim = Claim::read(request, place)?.ok_or(OssError::ANONYMOUS)?;
    let holder = holder(cloud, &claim, now)?;
    match claim.validity {
        Validity::Around(at) if !now.is_near(at) => return Err(OssError::RequestTimeTooSkewed),
        Validity::Between(from, to) if !(from..=to).contains(&now.by_server) => {
            return Err(OssError::URL_EXPIRED);
        }
        _ => {}
    }
    let bucket = cloud.world.buckets.get(&place.bucket);
    if let (Some(scope), Some(bucket)) = (&claim.scope, bucket)
        && scope.region != bucket.region
    {
        return Err(OssError::argument(
            "The signature's region is not the bucket's.",
        ));
    }
    if !claim.is_signed_by(&holder.secret) {
        return Err(OssError::SignatureDoesNotMatch {
            id: claim.access_key_id,
            string_to_sign: claim.string_to_sign,
            canonical_request: claim.canonical_request,
            provided: claim.signature,
        });
    }
    Ok(holder)
}

fn holder(cloud: &Cloud, claim: &Claim, now: Now) -> Result<Holder, OssError> {
    let id = claim.access_key_id.as_str();
    let unknown = |temporary| OssError::InvalidAccessKeyId {
        id: id.to_owned(),
        temporary,
    };
    if let Some(session) = hold(&cloud.sessions).find(id).cloned() {
        return match claim.token.as_deref() {
            None => Err(unknown(true)),
            Some(token) if token != session.token => Err(OssError::InvalidSecurityToken),
            Some(_) if session.expires <= now.truly => Err(OssError::SecurityTokenExpired),
            Some(_) => {
                let role = cloud.world.roles.get(&session.role);
                let role = role.map(|role| role.policy.clone());
                let policies = role.into_iter().chain(session.policy).collect();
                Ok(Holder {
                    secret: session.secret,
                    policies,
                })
            }
        };
    }
    match cloud.world.keys.get(id) {
        // A long-lived key that comes with a token is taken for a temporary one.
        Some(key) if key.active && claim.token.is_none() => Ok(Holder {
            secret: key.secret.clone(),
            policies: cloud
                .world
                .users
                .get(&key.user)
                .and_then(|user| user.policy.clone())
                .into_iter()
                .collect(),
        }),
        Some(key) if !key.active => Err(OssError::AccessKeyDisabled { id: id.to_owned() }),
        _ => Err(unknown(claim.token.is_some() || id.starts_with("STS."))),
    }
}

/// The names a policy may know a resource by: with and without its region and account.
fn names(cloud: &Cloud, place: &Place) -> Vec<String> {
    let resource = match place.key.as_str() {
        "" => place.bucket.clone(),
        key => format!("{}/{key}", place.bucket),
    };
    let region = cloud
        .world
        .buckets
        .get(&place.bucket)
        .map_or("*", |it| &it.region);
    let account = &cloud.world.account;
    vec![
        format!("acs:oss:*:*:{resource}"),
        format!("acs:oss:*:{account}:{resource}"),
        format!("acs:oss:oss-{region}:{account}:{resource}"),
    ]
}

fn put(cloud: &Cloud, request: &HttpRequest, place: &Place, now: Now) -> Result<Reply, OssError> {
    let body = request.body.clone();
    if body.len() > LARGEST {
        return Err(OssError::EntityTooLarge);
    }
    let digest = md5(&body);
    if request
        .header("content-md5")
        .is_some_and(|it| it != base64(&digest))
    {
        return Err(OssError::InvalidDigest);
    }
    let meta = request
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-oss-meta-"));
    let object = Object {
        content_type: request
            .header("content-type")
            .unwrap_or("application/octet-stream")
            .to_owned(),
        meta: meta.cloned().collect(),
        etag: format!("\"{}\"", hex(&digest).to_ascii_uppercase()),
        crc64: CRC64.checksum(&body),
        modified: now.by_server,
        body,
    };
    let reply = Reply::ok("application/xml", "")
        .with("etag", object.etag.clone())
        .with("content-md5", base64(&digest))
        .with("x-oss-hash-crc64ecma", object.crc64.to_string());
    hold(&cloud.objects).put(&place.bucket, &place.key, object)?;
    Ok(reply)
}

fn get(cloud: &Cloud, request: &HttpRequest, place: &Place) -> Result<Reply, OssError> {
    let objects = hold(&cloud.objects);
    let object = objects
        .find(&place.bucket, &place.key)
        .ok_or(OssError::NoSuchKey)?;
    let content_type = request.parameter("response-content-type");
    let whole = object.body.len();
    let range = range(request, whole)?;
    let (from, to) = range.unwrap_or((0, whole));
    let body = match request.method.as_str() {
        "HEAD" => Vec::new(),
        _ => object.body[from..to].to_vec(),
    };
    let mut reply = Reply::ok(content_type.unwrap_or(&object.content_type), body)
        .with("content-length", (to - from).to_string())
        .with("etag", object.etag.clone())
        .with("last-modified", http_date(object.modified))
        .with("accept-ranges", "bytes")
        .with("x-oss-object-type", "Normal")
        .with("x-oss-storage-class", "Standard")
        .with("x-oss-hash-crc64ecma", object.crc64.to_string());
    if range.is_some() {
        reply.status = 206;
        reply = reply.with("content-range", format!("bytes {from}-{}/{whole}", to - 1));
    }
    reply.meta.clone_from(&object.meta);
    Ok(reply)
}

/// Reads `bytes=a-b`, `bytes=a-` or `bytes=-n` as a half-open range.
fn range(request: &HttpRequest, whole: usize) -> Result<Option<(usize, usize)>, OssError> {
    let Some(text) = request
        .header("range")
        .and_then(|it| it.strip_prefix("bytes="))
    else {
        return Ok(None);
    };
    let Some((from, to)) = text.split_once('-') else {
        return Ok(None);
    };
    let number = |text: &str| text.parse::<usize>().ok();
    let (from, to) = match (number(from), number(to)) {
        (Some(from), Some(to)) => (from, to.saturating_add(1).min(whole)),
        (Some(from), None) => (from, whole),
        (None, Some(last)) => (whole.saturating_sub(last), whole),
        (None, None) => return Ok(None),
    };
    if from >= to {
        return Err(OssError::InvalidRange);
    }
    Ok(Some((from, to)))
}
