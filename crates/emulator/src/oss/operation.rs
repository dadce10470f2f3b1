//! The operation of a request.

use crate::{http::request::HttpRequest, oss::object_address::ObjectAddress};

/// Query parameters of operations that are not emulated.
const OTHER_OPERATIONS: &[&str] = &[
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

/// Headers of `CopyObject`, which is not emulated.
const COPY_HEADERS: &[&str] = &["x-oss-copy-source", "x-amz-copy-source"];

/// An operation of OSS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    PutObject,
    GetObject,
    HeadObject,
    GetObjectMeta,
    DeleteObject,
    ListObjects,
    /// An operation that is not emulated.
    Other,
}

impl Operation {
    /// Returns the operation of a request.
    pub(crate) fn from_request(request: &HttpRequest, address: &ObjectAddress) -> Self {
        let has = |name: &str| request.query_parameter(name).is_some();
        let is_copy = COPY_HEADERS
            .iter()
            .any(|name| request.header(name).is_some());
        if address.bucket.is_empty() || is_copy || OTHER_OPERATIONS.iter().any(|name| has(name)) {
            return Self::Other;
        }
        match (request.method.as_str(), address.key.is_empty()) {
            ("GET", true) => Self::ListObjects,
            ("GET" | "HEAD", false) if has("objectMeta") => Self::GetObjectMeta,
            ("PUT", false) => Self::PutObject,
            ("GET", false) => Self::GetObject,
            ("HEAD", false) => Self::HeadObject,
            ("DELETE", false) => Self::DeleteObject,
            _ => Self::Other,
        }
    }

    /// Returns the name of the operation in counters and fault scripts.
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

    /// Returns the action that a policy must allow.
    pub(crate) fn policy_action(self) -> &'static str {
        match self {
            Self::HeadObject | Self::GetObjectMeta => "oss:GetObject",
            other => other.name(),
        }
    }
}
