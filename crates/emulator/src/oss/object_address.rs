//! The bucket and the key of a request.
//!
//! The bucket is the first label of `Host`, as in `examplebucket.oss-cn-hongkong.aliyuncs.com`, or the
//! first segment of the path. A key may begin with the name of a bucket, so that a request with both
//! has two readings: OSS takes the bucket of `Host`, ali-oss with the address of a machine as its
//! endpoint means the path. [`signature::signed_address`](super::signature::signed_address) decides
//! by the signature, which covers the bucket and the key.

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

/// The readings of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Readings {
    pub(crate) likely: ObjectAddress,
    /// The bucket in the path, if `Host` and the path both name one.
    pub(crate) by_path: Option<ObjectAddress>,
}

impl Readings {
    /// Returns the readings of a request; `exists` returns `true` for an existing bucket.
    pub(crate) fn of_request(request: &HttpRequest, exists: impl Fn(&str) -> bool) -> Self {
        let path = request.path.strip_prefix('/').unwrap_or(&request.path);
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let by_path = ObjectAddress {
            bucket: percent_decode(first),
            key: percent_decode(rest),
        };
        let host = request.header("host").unwrap_or_default();
        let Some(bucket) = bucket_of_host(host) else {
            return Self {
                likely: by_path,
                by_path: None,
            };
        };
        let by_host = ObjectAddress {
            bucket: bucket.to_owned(),
            key: percent_decode(path),
        };
        let (likely, by_path) = match exists(&by_path.bucket) {
            false => (by_host, None),
            true if exists(bucket) || host.contains(".oss-") => (by_host, Some(by_path)),
            true => (by_path, None),
        };
        Self { likely, by_path }
    }
}

impl ObjectAddress {
    /// Returns the resource that V1 and V4 sign: bucket and key, also if the bucket is in `Host`.
    pub(crate) fn signed_path(&self) -> String {
        match self.bucket.as_str() {
            "" => "/".to_owned(),
            bucket => format!("/{bucket}/{}", self.key),
        }
    }
}

/// Returns the first label of a host name; `None` for an IP address, a name with one label, a name
/// whose rest is an IP address, and the name of the service.
fn bucket_of_host(host: &str) -> Option<&str> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let without_brackets = name.trim_start_matches('[').trim_end_matches(']');
    if without_brackets.parse::<IpAddr>().is_ok() {
        return None;
    }
    let (first, rest) = name.split_once('.')?;
    let is_service = matches!(first, "" | "oss" | "s3")
        || first.starts_with("oss-") && !rest.contains("oss-")
        || rest.parse::<IpAddr>().is_ok();
    (!is_service).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks both readings, as `BUCKET/KEY`, of a request with two existing buckets.
    fn check(host: &str, path: &str, likely: &str, by_path: Option<&str>) {
        let request = HttpRequest::new("GET", path, [("host", host)], Vec::new());
        let readings = Readings::of_request(&request, |name| matches!(name, "one" | "two"));
        let text = |address: ObjectAddress| format!("{}/{}", address.bucket, address.key);
        assert_eq!(text(readings.likely), likely, "{host} {path}");
        let found = readings.by_path.map(text);
        assert_eq!(found.as_deref(), by_path, "{host} {path}");
    }

    #[test]
    fn bucket_is_in_the_host_or_in_the_path() {
        for host in ["127.0.0.1:80", "[::1]:80", "localhost", "one.127.0.0.1"] {
            check(host, "/two/a%20b", "two/a b", None);
            check(host, "/absent/k", "absent/k", None);
            check(host, "/", "/", None);
        }
        for host in [
            "one.oss-cn-hongkong.aliyuncs.com",
            "one.s3.oss-cn-hongkong.aliyuncs.com:443",
            "one.localhost:80",
        ] {
            check(host, "/k/l", "one/k/l", None);
            check(host, "/", "one/", None);
            check(host, "/two/k", "one/two/k", Some("two/k"));
            check(host, "/one", "one/one", Some("one/"));
        }
        check("oss-cn-hongkong.aliyuncs.com", "/two/k", "two/k", None);
        check("s3.oss-cn-hongkong.aliyuncs.com", "/new", "new/", None);
        check("new.oss-cn-hongkong.aliyuncs.com", "/", "new/", None);
        check(
            "oss-new.oss-cn-hongkong.aliyuncs.com",
            "/",
            "oss-new/",
            None,
        );
        check("minio.example.com", "/two/k", "two/k", None);
        let absent = "absent.oss-cn-hongkong.aliyuncs.com";
        check(absent, "/two/k", "absent/two/k", Some("two/k"));
    }
}
