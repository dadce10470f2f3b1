//! The region in the host name of an OSS endpoint.

/// The region of `oss.aliyuncs.com`.
pub(super) const DEFAULT_REGION: &str = "cn-hangzhou";

/// The beginning of endpoints that belong to no region.
const ACCELERATE: &str = "accelerate";

/// Returns the region in a host name, such as `oss-cn-hongkong.aliyuncs.com`,
/// `BUCKET.oss-cn-hongkong-internal.aliyuncs.com` or `s3.oss-cn-hongkong.aliyuncs.com`; `None` for
/// the name of an endpoint without one.
pub(super) fn region_of_host<'a>(host: &'a str, bucket: &str) -> Option<&'a str> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let mut labels = name.split('.').peekable();
    // The name of a bucket may begin with `oss-`.
    if labels.peek() == Some(&bucket) {
        labels.next();
    }
    let label = labels.find_map(|label| label.strip_prefix("oss-"))?;
    let region = label.strip_suffix("-internal").unwrap_or(label);
    (!region.starts_with(ACCELERATE)).then_some(region)
}

/// Returns the host name of a region's endpoint.
pub(super) fn endpoint_of(region: &str) -> String {
    format!("oss-{region}.aliyuncs.com")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_is_read_from_each_kind_of_endpoint() {
        for (host, expected) in [
            ("oss-cn-hongkong.aliyuncs.com", Some("cn-hongkong")),
            (
                "b.oss-cn-hongkong-internal.aliyuncs.com:80",
                Some("cn-hongkong"),
            ),
            ("b.s3.oss-us-west-1.aliyuncs.com", Some("us-west-1")),
            ("oss-backup.oss-eu-west-1.localhost", Some("eu-west-1")),
            ("oss-backup.localhost:8080", None),
            ("b.oss-accelerate.aliyuncs.com", None),
            ("oss.aliyuncs.com", None),
            ("127.0.0.1:8080", None),
            ("[::1]:8080", None),
        ] {
            let bucket = if host.starts_with("oss-backup") {
                "oss-backup"
            } else {
                "b"
            };
            assert_eq!(region_of_host(host, bucket), expected, "{host}");
        }
    }
}
