//! OSS signature V1: HMAC-SHA1 over a few headers and the resource.

use jiff::Timestamp;

use crate::{
    clock::parse_http_date,
    http::request::HttpRequest,
    oss::{
        error::OssError,
        object_address::ObjectAddress,
        signature::claim::{ClaimedSignature, Validity},
    },
};

/// The query parameters that are part of the signed resource. `prefix`, `marker`, `max-keys` and
/// similar ones are not.
pub(crate) const SUB_RESOURCES: &[&str] = &[
    "accessPoint",
    "accessPointPolicy",
    "acl",
    "append",
    "asyncFetch",
    "bucketArchiveDirectRead",
    "bucketInfo",
    "callback",
    "callback-var",
    "cname",
    "comp",
    "continuation-token",
    "cors",
    "delete",
    "encryption",
    "endTime",
    "group",
    "httpsConfig",
    "img",
    "inventory",
    "inventoryId",
    "legalHold",
    "lifecycle",
    "link",
    "live",
    "location",
    "log",
    "logging",
    "metaQuery",
    "mime",
    "objectInfo",
    "objectMeta",
    "partNumber",
    "policy",
    "policyStatus",
    "position",
    "processConfig",
    "publicAccessBlock",
    "qos",
    "qosInfo",
    "qosRequester",
    "redundancyTransition",
    "referer",
    "regionList",
    "replication",
    "replicationLocation",
    "replicationProgress",
    "requestPayment",
    "requesterQosInfo",
    "resourceGroup",
    "resourcePool",
    "resourcePoolBuckets",
    "resourcePoolInfo",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "rtc",
    "security-token",
    "sequential",
    "startTime",
    "stat",
    "status",
    "style",
    "styleName",
    "symlink",
    "tagging",
    "transferAcceleration",
    "udf",
    "udfApplication",
    "udfApplicationLog",
    "udfId",
    "udfImage",
    "udfImageDesc",
    "udfName",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "vip",
    "vod",
    "website",
    "worm",
    "wormExtend",
    "wormId",
    "x-oss-ac-forward-allow",
    "x-oss-ac-source-ip",
    "x-oss-ac-subnet-mask",
    "x-oss-ac-vpc-id",
    "x-oss-async-process",
    "x-oss-enable-md5",
    "x-oss-enable-sha1",
    "x-oss-enable-sha256",
    "x-oss-hash-ctx",
    "x-oss-md5-ctx",
    "x-oss-process",
    "x-oss-request-payer",
    "x-oss-traffic-limit",
    "x-oss-write-get-object-response",
];

/// Parses the `Authorization` header.
pub(crate) fn parse_header(
    request: &HttpRequest,
    address: &ObjectAddress,
    authorization: &str,
) -> Result<ClaimedSignature, OssError> {
    let (id, signature) = authorization
        .strip_prefix("OSS ")
        .and_then(|rest| rest.trim().split_once(':'))
        .filter(|(id, signature)| !id.is_empty() && !signature.is_empty())
        .ok_or_else(|| OssError::argument("Authorization header is invalid."))?;
    // x-oss-date overrides Date; ali-oss sends x-oss-date only.
    let date = request
        .header("x-oss-date")
        .or_else(|| request.header("date"))
        .ok_or(OssError::NO_DATE)?;
    let made = parse_http_date(date).ok_or(OssError::NO_DATE)?;
    // alibabacloud-oss-v2 sends the token in `security-token`, which no signature covers.
    let token = request
        .header("x-oss-security-token")
        .or_else(|| request.query_parameter("security-token"))
        .or_else(|| request.header("security-token"));
    Ok(ClaimedSignature {
        access_key_id: id.to_owned(),
        token: token.map(str::to_owned),
        string_to_sign: string_to_sign(request, address, date),
        canonical_request: String::new(),
        signature: signature.to_owned(),
        validity: Validity::Around(made),
        scope: None,
    })
}

/// Parses the query of a presigned URL.
pub(crate) fn parse_query(
    request: &HttpRequest,
    address: &ObjectAddress,
) -> Result<ClaimedSignature, OssError> {
    let parameter = |name: &str| {
        request
            .query_parameter(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| OssError::InvalidArgument(format!("{name} is missing.")))
    };
    let expires = parameter("Expires")?;
    let end = expires
        .parse()
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or_else(|| OssError::argument("Expires is not a time."))?;
    Ok(ClaimedSignature {
        access_key_id: parameter("OSSAccessKeyId")?.to_owned(),
        token: request.query_parameter("security-token").map(str::to_owned),
        string_to_sign: string_to_sign(request, address, expires),
        canonical_request: String::new(),
        signature: parameter("Signature")?.to_owned(),
        validity: Validity::Between(Timestamp::MIN, end),
        scope: None,
    })
}

fn string_to_sign(request: &HttpRequest, address: &ObjectAddress, date: &str) -> String {
    let header = |name| request.header(name).unwrap_or_default();
    let mut oss_headers: Vec<&(String, String)> = request
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-oss-"))
        .collect();
    oss_headers.sort();
    let oss_headers: String = oss_headers
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    format!(
        "{}\n{}\n{}\n{date}\n{}{}",
        request.method,
        header("content-md5"),
        header("content-type"),
        oss_headers,
        resource(request, address),
    )
}

fn resource(request: &HttpRequest, address: &ObjectAddress) -> String {
    let path = address.signed_path();
    let mut signed: Vec<&(String, String)> = request
        .query
        .iter()
        .filter(|(name, _)| SUB_RESOURCES.contains(&name.as_str()))
        .collect();
    signed.sort();
    let signed: Vec<String> = signed
        .iter()
        .map(|(name, value)| match value.as_str() {
            "" => name.clone(),
            value => format!("{name}={value}"),
        })
        .collect();
    if signed.is_empty() {
        path
    } else {
        format!("{path}?{}", signed.join("&"))
    }
}
