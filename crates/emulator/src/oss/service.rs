//! The OSS service: who is asking, whether they may, and the few operations there are.
//!
//! Checks run in one order: a readable signature, its time, the key, the token, the
//! signature itself, the bucket, the region, the policies, then the operation's own.

use crate::{
    account::policy::Policy,
    encoding::{base64, request_id},
    http::{reply::Reply, request::HttpRequest},
    oss::{
        error::OssError,
        object_address::Place,
        operations as object_calls,
        signature::{Claim, Validity, aws_v4},
    },
    state::{Cloud, Now, hold},
};

/// What a request asks of OSS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    PutObject,
    GetObject,
    HeadObject,
    GetObjectMeta,
    DeleteObject,
    ListObjects,
    Other,
}

impl Operation {
    pub(crate) fn of(request: &HttpRequest, place: &Place) -> Self {
        let has = |name| request.parameter(name).is_some();
        let foreign = [
            "acl",
            "uploads",
            "uploadId",
            "append",
            "tagging",
            "symlink",
            "restore",
            "versions",
            "versionId",
            "policy",
            "location",
            "stat",
            "bucketInfo",
            "delete",
            "lifecycle",
            "cors",
            "logging",
            "website",
            "referer",
            "encryption",
            "versioning",
            "x-oss-process",
        ];
        let copies = ["x-oss-copy-source", "x-amz-copy-source"]
            .iter()
            .any(|name| request.header(name).is_some());
        if place.bucket.is_empty() || copies || foreign.iter().any(|name| has(name)) {
            return Self::Other;
        }
        match (request.method.as_str(), place.key.is_empty()) {
            ("GET", true) => Self::ListObjects,
            ("GET" | "HEAD", false) if has("objectMeta") => Self::GetObjectMeta,
            ("PUT", false) => Self::PutObject,
            ("GET", false) => Self::GetObject,
            ("HEAD", false) => Self::HeadObject,
            ("DELETE", false) => Self::DeleteObject,
            _ => Self::Other,
        }
    }

    /// Its name in counters and fault scripts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PutObject => "oss:PutObject",
            Self::GetObject => "oss:GetObject",
            Self::HeadObject => "oss:HeadObject",
            Self::GetObjectMeta => "oss:GetObjectMeta",
            Self::DeleteObject => "oss:DeleteObject",
            Self::ListObjects => "oss:ListObjects",
            Self::Other => "oss:other",
        }
    }

    /// The action that a policy must allow.
    fn action(self) -> &'static str {
        match self {
            Self::HeadObject | Self::GetObjectMeta => "oss:GetObject",
            other => other.name(),
        }
    }
}

/// What a caller may do, as the policies that must all allow it.
struct Rights {
    policies: Vec<Policy>,
}

/// Answers one request.
pub(crate) fn answer(cloud: &Cloud, request: &HttpRequest, now: Now) -> Reply {
    let place = place(cloud, request);
    match decide(cloud, request, &place, now) {
        Ok(reply) => reply.with("x-oss-request-id", oss_request_id()),
        Err(error) => refusal(request, &error),
    }
}

/// The bucket and key a request means in this cloud.
pub(crate) fn place(cloud: &Cloud, request: &HttpRequest) -> Place {
    Place::of(request, |name| cloud.world.buckets.contains_key(name))
}

/// An error answer; `HEAD` has no body, so its document travels in a header.
pub(crate) fn refusal(request: &HttpRequest, error: &OssError) -> Reply {
    let id = oss_request_id();
    let by_s3 = request
        .header("authorization")
        .is_some_and(|value| value.starts_with(aws_v4::ALGORITHM));
    let (code, status) = match by_s3 {
        true => error.in_s3(),
        false => (error.code(), error.status()),
    };
    let xml = error.xml(code, &id, request.header("host").unwrap_or_default());
    let mut reply = Reply::ok("application/xml", Vec::new());
    reply.status = status;
    // Counted under one name, whoever is told.
    error.code().clone_into(&mut reply.outcome);
    if request.method == "HEAD" {
        reply = reply.with("x-oss-err", base64(xml.as_bytes()));
    } else {
        reply.body = xml.into_bytes();
    }
    reply
        .with("x-oss-request-id", id.clone())
        .with("x-amz-request-id", id)
        .with("x-oss-ec", error.ec())
}

fn decide(
    cloud: &Cloud,
    request: &HttpRequest,
    place: &Place,
    now: Now,
) -> Result<Reply, OssError> {
    let claim = Claim::read(request, place)?.ok_or(OssError::ANONYMOUS)?;
    check_time(&claim, now)?;
    let rights = authenticate(cloud, &claim, now)?;
    let operation = Operation::of(request, place);
    if operation == Operation::Other {
        return Err(OssError::NotImplemented(format!(
            "{} {}",
            request.method, request.path
        )));
    }
    let bucket = cloud
        .world
        .buckets
        .get(&place.bucket)
        .ok_or(OssError::NoSuchBucket)?;
    if claim
        .scope
        .as_ref()
        .is_some_and(|scope| !scope.is_for(&bucket.region))
    {
        return Err(OssError::InvalidArgument(format!(
            "Invalid signing region in Authorization header: the bucket is in {}.",
            bucket.region
        )));
    }
    check_rights(cloud, &rights, operation, place, &bucket.region)?;
    object_calls::run(cloud, operation, request, place, now)
}

fn check_time(claim: &Claim, now: Now) -> Result<(), OssError> {
    match claim.validity {
        Validity::Around(made) if now.is_near(made) => Ok(()),
        Validity::Around(_) => Err(OssError::RequestTimeTooSkewed),
        Validity::Between(_, end) if now.by_server > end => Err(OssError::URL_EXPIRED),
        Validity::Between(start, _) if start > now.by_server && !now.is_near(start) => {
            Err(OssError::RequestTimeTooSkewed)
        }
        Validity::Between(..) => Ok(()),
    }
}

fn authenticate(cloud: &Cloud, claim: &Claim, now: Now) -> Result<Rights, OssError> {
    let id = &claim.access_key_id;
    let unknown = |temporary| OssError::InvalidAccessKeyId {
        id: id.clone(),
        temporary,
    };
    let token = claim.token.as_deref().filter(|token| !token.is_empty());
    let session = hold(&cloud.sessions).find(id).cloned();
    let (secret, rights) = match (session, cloud.world.keys.get(id), token) {
        (Some(session), _, Some(token)) => {
            if session.token != token {
                return Err(OssError::InvalidSecurityToken);
            }
            if session.expires <= now.truly {
                return Err(OssError::SecurityTokenExpired);
            }
            let role = cloud.world.roles.get(&session.role);
            let role = role.map(|role| role.policy.clone());
            let policies = role.into_iter().chain(session.policy).collect();
            (session.secret, Rights { policies })
        }
        // A temporary id says nothing without its token, nor a lasting one with one.
        (Some(_), _, None) | (None, Some(_), Some(_)) => return Err(unknown(true)),
        (None, Some(key), None) => {
            if !cloud.is_active(id, key) {
                return Err(OssError::AccessKeyDisabled { id: id.clone() });
            }
            let user = cloud.world.users.get(&key.user);
            let policy = user.and_then(|user| user.policy.clone());
            let policies = policy.into_iter().collect();
            (key.secret.clone(), Rights { policies })
        }
        (None, None, _) => return Err(unknown(id.starts_with("STS."))),
    };
    if !claim.is_signed_by(&secret) {
        return Err(OssError::SignatureDoesNotMatch {
            id: id.clone(),
            string_to_sign: claim.string_to_sign.clone(),
            canonical_request: claim.canonical_request.clone(),
            provided: claim.signature.clone(),
        });
    }
    Ok(rights)
}

/// No policy is no right; several must all agree.
fn check_rights(
    cloud: &Cloud,
    rights: &Rights,
    operation: Operation,
    place: &Place,
    region: &str,
) -> Result<(), OssError> {
    let resource = match operation {
        Operation::ListObjects => place.bucket.clone(),
        _ => format!("{}/{}", place.bucket, place.key),
    };
    let account = &cloud.world.account;
    // A policy may spell the region with or without its prefix.
    let names = [
        format!("acs:oss:{region}:{account}:{resource}"),
        format!("acs:oss:oss-{region}:{account}:{resource}"),
    ];
    let allowed = !rights.policies.is_empty()
        && rights
            .policies
            .iter()
            .all(|policy| policy.allows(operation.action(), &names));
    if allowed {
        Ok(())
    } else {
        Err(OssError::FORBIDDEN)
    }
}

/// A request id in OSS's form: 24 hexadecimal digits in capitals.
fn oss_request_id() -> String {
    let id = request_id().replace('-', "");
    let id: String = id.chars().take(24).collect();
    id
}
