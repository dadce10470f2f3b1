//! The bucket and the key of a request.
//!
//! The first segment of the path is the bucket if such a bucket exists: ali-oss also names the
//! bucket in `Host` then. Otherwise the first label of `Host` is the bucket.

use std::net::IpAddr;

use crate::{encoding::percent_decode, http::request::HttpRequest};

/// A decoded bucket and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectAddress {
    /// The bucket; empty for a request to the service.
    pub bucket: String,
    /// The key; empty for a request to the bucket.
    pub key: String,
}

impl ObjectAddress {
    /// Returns the address in a request; `exists` returns `true` for an existing bucket.
    #[must_use]
    pub fn from_request(request: &HttpRequest, exists: impl Fn(&str) -> bool) -> Self {
        let path = request.path.strip_prefix('/').unwrap_or(&request.path);
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let by_path = Self {
            bucket: percent_decode(first),
            key: percent_decode(rest),
        };
        if exists(&by_path.bucket) {
            return by_path;
        }
        match bucket_of_host(request.header("host").unwrap_or_default()) {
            Some(bucket) => Self {
                bucket: bucket.to_owned(),
                key: percent_decode(path),
            },
            None => by_path,
        }
    }

    /// Returns the resource that V1 and V4 sign: bucket and key, also if the bucket is in `Host`.
    pub(crate) fn signed_path(&self) -> String {
        match self.bucket.as_str() {
            "" => "/".to_owned(),
            bucket => format!("/{bucket}/{}", self.key),
        }
    }
}

/// Returns the first label of a host name; `None` for an IP address, a name with one label, and
/// the name of the service.
fn bucket_of_host(host: &str) -> Option<&str> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let without_brackets = name.trim_start_matches('[').trim_end_matches(']');
    if without_brackets.parse::<IpAddr>().is_ok() {
        return None;
    }
    let (first, _) = name.split_once('.')?;
    (!first.is_empty() && !first.starts_with("oss-")).then_some(first)
}
