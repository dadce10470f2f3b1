//! The OSS service: the checks of a request and its reply.
//!
//! The checks have one order: a readable signature, its time, the key, the token, the signature
//! itself, the bucket, the region, the policies, then those of the operation.

use crate::{
    clock::RequestTime,
    encoding::{base64, request_id},
    http::{reply::Reply, request::HttpRequest},
    oss::{
        caller::{Caller, check_time},
        error::OssError,
        object_address::ObjectAddress,
        operation::Operation,
        operations,
        signature::{self, aws_v4},
    },
    state::EmulatorState,
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
    let mut reply = Reply::ok("application/xml", Vec::new());
    reply.status = status;
    // Counted by OSS's code, also for AWS SDKs.
    error.code().clone_into(&mut reply.outcome);
    if request.method == "HEAD" {
        reply = reply.with_header("x-oss-err", base64(xml.as_bytes()));
    } else {
        reply.body = xml.into_bytes();
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
    if operation == Operation::Other {
        return Err(OssError::NotImplemented(format!(
            "{} {}",
            request.method, request.path
        )));
    }
    let bucket = state
        .account
        .buckets
        .get(&address.bucket)
        .ok_or(OssError::NoSuchBucket)?;
    if claim
        .scope
        .as_ref()
        .is_some_and(|scope| !scope.matches_region(&bucket.region))
    {
        return Err(OssError::InvalidArgument(format!(
            "Invalid signing region in Authorization header: the bucket is in {}.",
            bucket.region
        )));
    }
    caller.authorize(&state.account.id, operation, &address, &bucket.region)?;
    operations::run(state, operation, request, &address, now)
}

fn address(state: &EmulatorState, request: &HttpRequest) -> ObjectAddress {
    ObjectAddress::from_request(request, |name| state.account.buckets.contains_key(name))
}

/// Returns a request id in OSS's format: 24 hexadecimal digits in upper case.
fn oss_request_id() -> String {
    let mut id = request_id().replace('-', "");
    id.truncate(REQUEST_ID_CHARS);
    id
}
