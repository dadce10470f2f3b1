//! Which bucket and key a request means.
//!
//! Path style wins when the path's first segment is a bucket that exists: ali-oss
//! names the bucket in `Host` even then. Otherwise the first label of `Host` counts.

use std::net::IpAddr;

use crate::{encoding::unescape, http::request::HttpRequest};

/// A bucket and a key, decoded; either may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Empty for the service itself.
    pub bucket: String,
    /// Empty for the bucket itself.
    pub key: String,
}

impl Place {
    /// Finds the place; `exists` knows the buckets.
    #[must_use]
    pub fn of(request: &HttpRequest, exists: impl Fn(&str) -> bool) -> Self {
        let path = request.path.strip_prefix('/').unwrap_or(&request.path);
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let by_path = Self {
            bucket: unescape(first),
            key: unescape(rest),
        };
        if exists(&by_path.bucket) {
            return by_path;
        }
        match bucket_of_host(request.header("host").unwrap_or_default()) {
            Some(bucket) => Self {
                bucket: bucket.to_owned(),
                key: unescape(path),
            },
            None => by_path,
        }
    }
}

/// The first label of a name; an address and a bare name carry no bucket, nor does
/// the service's own name.
fn bucket_of_host(host: &str) -> Option<&str> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        return None;
    }
    let (first, _) = name.split_once('.')?;
    (!first.is_empty() && !first.starts_with("oss-")).then_some(first)
}
