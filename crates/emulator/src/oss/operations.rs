//! The operations, for a caller that is allowed to run them.

use crate::{
    clock::RequestTime,
    http::{reply::Reply, request::HttpRequest},
    oss::{
        bucket, copy, delete_objects, error::OssError, list, multipart, multipart_list, object,
        object_address::ObjectAddress, operation::Operation,
    },
    state::EmulatorState,
    sync::lock,
};

/// Returns the reply to an operation on an existing bucket, or on none.
pub(crate) fn run(
    state: &EmulatorState,
    operation: Operation,
    request: &HttpRequest,
    address: &ObjectAddress,
    now: RequestTime,
) -> Result<Reply, OssError> {
    match operation {
        Operation::ListBuckets => bucket::list(state, request),
        Operation::DeleteBucket => bucket::delete(state, address),
        Operation::HeadBucket => Ok(Reply::ok("application/xml", "")),
        Operation::GetBucketInfo => bucket::info(state, address),
        Operation::GetBucketLocation => bucket::location(state, address),
        Operation::ListObjects => {
            let objects = lock(&state.objects);
            let xml = list::run(&objects, &address.bucket, &state.account.id, request)?;
            Ok(Reply::ok("application/xml", xml))
        }
        Operation::ListMultipartUploads => multipart_list::uploads(state, request, address),
        Operation::DeleteMultipleObjects => delete_objects::run(state, request, address),
        Operation::PutObject => object::put(state, request, address, now),
        Operation::CopyObject => copy::run(state, request, address, now),
        Operation::GetObject => object::get(state, request, address),
        Operation::HeadObject | Operation::GetObjectMeta => object::head(state, address),
        Operation::DeleteObject => Ok(object::delete(state, address)),
        Operation::InitiateMultipartUpload => multipart::initiate(state, request, address, now),
        Operation::UploadPart => multipart::upload_part(state, request, address, now),
        Operation::UploadPartCopy => multipart::upload_part_copy(state, request, address, now),
        Operation::CompleteMultipartUpload => multipart::complete(state, request, address, now),
        Operation::AbortMultipartUpload => multipart::abort(state, request, address),
        Operation::ListParts => multipart_list::parts(state, request, address),
        // The service answers a PutBucket, which needs no bucket.
        Operation::PutBucket | Operation::Other => {
            Err(OssError::NotImplemented(request.method.clone()))
        }
    }
}
