//! The OSS service: the checks of a request and its reply.
//!
//! The checks have one order: a readable signature, its time, the key, the token, the signature
//! itself, the bucket, the region, the policies, then those of the operation.

use crate::{
    clock::RequestTime,
    encoding::{base64, request_id},
    http::{reply::Reply, request::HttpRequest},
    oss::{
        bucket,
        caller::{Caller, check_time},
        copy, delete_objects,
        endpoint::{endpoint_of, region_of_host},
        error::OssError,
        object_address::ObjectAddress,
        operation::{Level, Operation},
        operations,
        signature::{self, aws_v4, claim::ClaimedSignature},
    },
    state::{EmulatorState, buckets::StoredBucket},
    sync::lock,
};

/// Length of a request id.
const REQUEST_ID_CHARS: usize = 24;

/// Returns the reply to one request.
pub(crate) fn respond(state: &EmulatorState, request: &HttpRequest, now: RequestTime) -> Reply {
    match run(state, request, now) {
        Ok(reply) => reply.with_header("x-oss-request-id", oss_request_id()),
        Err(error) => error_reply(request, &error),
    }
}

/// Returns the name under which a request is counted.
pub(crate) fn counted_action(state: &EmulatorState, request: &HttpRequest) -> &'static str {
    Operation::from_request(request, &address(state, request)).name()
}

/// Returns the reply to a refused request. A reply to `HEAD` has no body, so that its error
/// document is in a header.
pub(crate) fn error_reply(request: &HttpRequest, error: &OssError) -> Reply {
    let id = oss_request_id();
    let is_aws = request
        .header("authorization")
        .is_some_and(|value| value.starts_with(aws_v4::ALGORITHM));
    let (code, status) = if is_aws {
        error.s3_code_and_status()
    } else {
        (error.code(), error.status())
    };
    let xml = error.xml(code, &id, request.header("host").unwrap_or_default());
    let mut reply = Reply::ok("application/xml", "");
    reply.status = status;
    // Counted by OSS's code, also for AWS SDKs.
    error.code().clone_into(&mut reply.outcome);
    if request.method == "HEAD" {
        reply = reply.with_header("x-oss-err", base64(xml.as_bytes()));
    } else {
        reply.body = xml.into();
    }
    reply
        .with_header("x-oss-request-id", id.clone())
        .with_header("x-amz-request-id", id)
        .with_header("x-oss-ec", error.ec())
}

fn run(state: &EmulatorState, request: &HttpRequest, now: RequestTime) -> Result<Reply, OssError> {
    let address = address(state, request);
    let claim = signature::parse(request, &address)?.ok_or(OssError::ANONYMOUS)?;
    check_time(&claim, now)?;
    let caller = Caller::authenticate(state, &claim, now)?;
    let operation = Operation::from_request(request, &address);
    match operation {
        Operation::Other => {
            return Err(OssError::NotImplemented(description(request)));
        }
        Operation::PutBucket => {
            bucket::check_name(&address.bucket)?;
            let region = bucket::new_region(request, &address, &claim);
            let arns = arns(&state.account.id, &region, &address.bucket);
            caller.authorize(operation.policy_action(), &arns)?;
            return bucket::put(state, &address, &region, now);
        }
        Operation::ListBuckets => {}
        _ => check_region(&find_bucket(state, &address)?, request, &address, &claim)?,
    }
    for right in required_rights(state, operation, request, &address)? {
        caller.authorize(right.action, &right.arns)?;
    }
    operations::run(state, operation, request, &address, now)
}

/// Returns the method, the path and the names of the parameters of a request.
fn description(request: &HttpRequest) -> String {
    let names: Vec<&str> = request
        .query
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    match names.as_slice() {
        [] => format!("{} {}", request.method, request.path),
        names => format!("{} {}?{}", request.method, request.path, names.join("&")),
    }
}

/// An action that the policies must allow on a resource.
struct Right {
    action: &'static str,
    /// The equivalent ARNs of the resource.
    arns: [String; 2],
}

fn required_rights(
    state: &EmulatorState,
    operation: Operation,
    request: &HttpRequest,
    address: &ObjectAddress,
) -> Result<Vec<Right>, OssError> {
    let account = &state.account.id;
    let region = match operation.level() {
        Level::Service => "*".to_owned(),
        _ => find_bucket(state, address)?.region,
    };
    let right = |resource: &str| Right {
        action: operation.policy_action(),
        arns: arns(account, &region, resource),
    };
    let object = |key: &str| format!("{}/{key}", address.bucket);
    let mut rights = match (operation, operation.level()) {
        (Operation::DeleteMultipleObjects, _) => {
            let keys = delete_objects::keys(request)?;
            keys.iter().map(|key| right(&object(key))).collect()
        }
        (_, Level::Service) => vec![right("*")],
        (_, Level::Bucket) => vec![right(&address.bucket)],
        (_, Level::Object) => vec![right(&object(&address.key))],
    };
    if let Operation::CopyObject | Operation::UploadPartCopy = operation
        && let Some(source) = copy::source(request)?
    {
        let region = find_bucket(state, &source)?.region;
        rights.push(Right {
            action: Operation::GetObject.policy_action(),
            arns: arns(
                account,
                &region,
                &format!("{}/{}", source.bucket, source.key),
            ),
        });
    }
    Ok(rights)
}

/// Returns the ARNs of a resource. A policy may name the region with or without the prefix `oss-`.
fn arns(account: &str, region: &str, resource: &str) -> [String; 2] {
    [
        format!("acs:oss:{region}:{account}:{resource}"),
        format!("acs:oss:oss-{region}:{account}:{resource}"),
    ]
}

/// Checks the region of the signature and of the host against the region of the bucket.
fn check_region(
    bucket: &StoredBucket,
    request: &HttpRequest,
    address: &ObjectAddress,
    claim: &ClaimedSignature,
) -> Result<(), OssError> {
    let scope = claim.scope.as_ref();
    if scope.is_some_and(|scope| !scope.matches_region(&bucket.region)) {
        return Err(OssError::InvalidArgument(format!(
            "Invalid signing region in Authorization header: the bucket is in {}.",
            bucket.region
        )));
    }
    let host = request.header("host").unwrap_or_default();
    match region_of_host(host, &address.bucket) {
        Some(region) if region != bucket.region => Err(OssError::WrongEndpoint {
            bucket: address.bucket.clone(),
            endpoint: endpoint_of(&bucket.region),
        }),
        _ => Ok(()),
    }
}

fn find_bucket(state: &EmulatorState, address: &ObjectAddress) -> Result<StoredBucket, OssError> {
    state
        .find_bucket(&address.bucket)
        .ok_or(OssError::NoSuchBucket)
}

fn address(state: &EmulatorState, request: &HttpRequest) -> ObjectAddress {
    let exists = |name: &str| state.find_bucket(name).is_some();
    signature::signed_address(request, exists, |id| secret_of(state, id))
}

fn secret_of(state: &EmulatorState, id: &str) -> Option<String> {
    let session = lock(&state.sessions).get(id).map(|it| it.secret.clone());
    session.or_else(|| state.account.keys.get(id).map(|key| key.secret.clone()))
}

/// Returns a request id in OSS's format: 24 hexadecimal digits in upper case.
fn oss_request_id() -> String {
    let mut id = request_id().replace('-', "");
    id.truncate(REQUEST_ID_CHARS);
    id
}
