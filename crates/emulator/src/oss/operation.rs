//! The operation of a request.

use crate::{
    http::request::HttpRequest,
    oss::{copy::COPY_SOURCE_HEADERS, object_address::ObjectAddress, signature::SUB_RESOURCES},
};

/// Sub-resources of OSS that select an emulated operation or alter none. All others of
/// [`SUB_RESOURCES`] select an operation that is not emulated.
const KNOWN_SUB_RESOURCES: &[&str] = &[
    "bucketInfo",
    "continuation-token",
    "delete",
    "location",
    "objectMeta",
    "partNumber",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "security-token",
    "sequential",
    "uploadId",
    "uploads",
    "x-oss-request-payer",
    "x-oss-traffic-limit",
];

/// Sub-resources that only AWS SDKs send. None of their operations is emulated.
const S3_SUB_RESOURCES: &[&str] = &[
    "accelerate",
    "analytics",
    "attributes",
    "intelligent-tiering",
    "legal-hold",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "retention",
    "select",
    "torrent",
];

/// An operation of OSS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    ListBuckets,
    PutBucket,
    DeleteBucket,
    HeadBucket,
    GetBucketInfo,
    GetBucketLocation,
    ListObjects,
    ListMultipartUploads,
    DeleteMultipleObjects,
    PutObject,
    CopyObject,
    GetObject,
    HeadObject,
    GetObjectMeta,
    DeleteObject,
    InitiateMultipartUpload,
    UploadPart,
    UploadPartCopy,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
    /// An operation that is not emulated.
    Other,
}

/// The resource of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// All buckets of the account.
    Service,
    Bucket,
    Object,
}

impl Operation {
    /// Returns the operation of a request.
    pub(crate) fn from_request(request: &HttpRequest, address: &ObjectAddress) -> Self {
        if has_other_sub_resource(request) {
            return Self::Other;
        }
        match (address.bucket.as_str(), address.key.as_str()) {
            ("", _) if request.method == "GET" && address.key.is_empty() => Self::ListBuckets,
            ("", _) => Self::Other,
            (_, "") => Self::of_bucket(request),
            _ => Self::of_object(request),
        }
    }

    fn of_bucket(request: &HttpRequest) -> Self {
        match (request.method.as_str(), sub_resource(request)) {
            ("GET", None) => Self::ListObjects,
            ("GET", Some("uploads")) => Self::ListMultipartUploads,
            ("GET", Some("location")) => Self::GetBucketLocation,
            ("GET", Some("bucketInfo")) => Self::GetBucketInfo,
            ("HEAD", None) => Self::HeadBucket,
            ("PUT", None) => Self::PutBucket,
            ("DELETE", None) => Self::DeleteBucket,
            ("POST", Some("delete")) => Self::DeleteMultipleObjects,
            _ => Self::Other,
        }
    }

    fn of_object(request: &HttpRequest) -> Self {
        let is_copy = COPY_SOURCE_HEADERS
            .iter()
            .any(|name| request.header(name).is_some());
        match (request.method.as_str(), sub_resource(request), is_copy) {
            ("PUT", None, false) => Self::PutObject,
            ("PUT", None, true) => Self::CopyObject,
            ("GET", None, _) => Self::GetObject,
            ("HEAD", None, _) => Self::HeadObject,
            ("GET" | "HEAD", Some("objectMeta"), _) => Self::GetObjectMeta,
            ("DELETE", None, _) => Self::DeleteObject,
            ("POST", Some("uploads"), _) => Self::InitiateMultipartUpload,
            ("PUT", Some("uploadId"), false) => Self::UploadPart,
            ("PUT", Some("uploadId"), true) => Self::UploadPartCopy,
            ("POST", Some("uploadId"), _) => Self::CompleteMultipartUpload,
            ("DELETE", Some("uploadId"), _) => Self::AbortMultipartUpload,
            ("GET", Some("uploadId"), _) => Self::ListParts,
            _ => Self::Other,
        }
    }

    /// Returns the name of the operation in counters and fault scripts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ListBuckets => "oss:ListBuckets",
            Self::PutBucket => "oss:PutBucket",
            Self::DeleteBucket => "oss:DeleteBucket",
            Self::HeadBucket => "oss:HeadBucket",
            Self::GetBucketInfo => "oss:GetBucketInfo",
            Self::GetBucketLocation => "oss:GetBucketLocation",
            Self::ListObjects => "oss:ListObjects",
            Self::ListMultipartUploads => "oss:ListMultipartUploads",
            Self::DeleteMultipleObjects => "oss:DeleteMultipleObjects",
            Self::PutObject => "oss:PutObject",
            Self::CopyObject => "oss:CopyObject",
            Self::GetObject => "oss:GetObject",
            Self::HeadObject => "oss:HeadObject",
            Self::GetObjectMeta => "oss:GetObjectMeta",
            Self::DeleteObject => "oss:DeleteObject",
            Self::InitiateMultipartUpload => "oss:InitiateMultipartUpload",
            Self::UploadPart => "oss:UploadPart",
            Self::UploadPartCopy => "oss:UploadPartCopy",
            Self::CompleteMultipartUpload => "oss:CompleteMultipartUpload",
            Self::AbortMultipartUpload => "oss:AbortMultipartUpload",
            Self::ListParts => "oss:ListParts",
            Self::Other => "oss:other",
        }
    }

    /// Returns the action that a policy must allow, by OSS's table of actions. The table has no
    /// action for `HeadBucket`; the emulator takes that of `GetBucketInfo`.
    pub(crate) fn policy_action(self) -> &'static str {
        match self {
            Self::HeadObject | Self::GetObjectMeta => "oss:GetObject",
            Self::HeadBucket => "oss:GetBucketInfo",
            Self::DeleteMultipleObjects => "oss:DeleteObject",
            Self::CopyObject
            | Self::InitiateMultipartUpload
            | Self::UploadPart
            | Self::UploadPartCopy
            | Self::CompleteMultipartUpload => "oss:PutObject",
            other => other.name(),
        }
    }

    /// Returns the kind of resource whose ARN a policy must match.
    pub(crate) fn level(self) -> Level {
        match self {
            Self::ListBuckets => Level::Service,
            Self::PutBucket
            | Self::DeleteBucket
            | Self::HeadBucket
            | Self::GetBucketInfo
            | Self::GetBucketLocation
            | Self::ListObjects
            | Self::ListMultipartUploads => Level::Bucket,
            _ => Level::Object,
        }
    }
}

/// Returns `true` if a parameter selects an operation that is not emulated.
fn has_other_sub_resource(request: &HttpRequest) -> bool {
    request.query.iter().any(|(name, _)| {
        let name = name.as_str();
        S3_SUB_RESOURCES.contains(&name)
            || SUB_RESOURCES.contains(&name) && !KNOWN_SUB_RESOURCES.contains(&name)
    })
}

/// Returns the parameter that selects the operation; `None` for an operation without one.
fn sub_resource(request: &HttpRequest) -> Option<&'static str> {
    [
        "uploads",
        "uploadId",
        "delete",
        "location",
        "bucketInfo",
        "objectMeta",
    ]
    .into_iter()
    .find(|name| request.query_parameter(name).is_some())
}
