//! OSS signature V4: HMAC-SHA256 with a key that is derived for one day and one region.

use jiff::{SignedDuration, Timestamp};

use crate::{
    clock::{parse_compact, saturating_add},
    encoding::{hex_sha256, percent_encode, percent_encode_path},
    http::request::HttpRequest,
    oss::{
        error::OssError,
        object_address::ObjectAddress,
        signature::claim::{ClaimedSignature, Family, Scope, Validity},
    },
};

const ALGORITHM: &str = "OSS4-HMAC-SHA256";
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Maximum lifetime of a presigned URL: a week.
const MAX_EXPIRES_SECONDS: i64 = 7 * 24 * 3600;

/// Parses the `Authorization` header.
pub(crate) fn parse_header(
    request: &HttpRequest,
    address: &ObjectAddress,
    authorization: &str,
) -> Result<ClaimedSignature, OssError> {
    let fields = authorization
        .strip_prefix(ALGORITHM)
        .ok_or_else(|| OssError::argument("Authorization header is invalid."))?;
    // oss2 separates the fields by ", " and sends AdditionalHeaders last, unlike other SDKs.
    let field = |name: &str| {
        fields
            .split(',')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.trim())
    };
    let required = |name: &str| {
        field(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| OssError::InvalidArgument(format!("Authorization has no {name}.")))
    };
    let payload = request
        .header("x-oss-content-sha256")
        .ok_or_else(|| OssError::argument("The header x-oss-content-sha256 is missing."))?;
    if payload != UNSIGNED_PAYLOAD {
        return Err(OssError::argument(
            "The header x-oss-content-sha256 must be UNSIGNED-PAYLOAD.",
        ));
    }
    let date = request.header("x-oss-date").ok_or(OssError::NO_DATE)?;
    let made = parse_compact(date).ok_or(OssError::NO_DATE)?;
    let parsed = Fields {
        credential: required("Credential")?,
        additional: field("AdditionalHeaders").unwrap_or_default(),
        signature: required("Signature")?,
        token: request.header("x-oss-security-token"),
        date,
        validity: Validity::Around(made),
    };
    parsed.into_claim(request, address)
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
    if parameter("x-oss-signature-version")? != ALGORITHM {
        return Err(OssError::argument("x-oss-signature-version is unknown."));
    }
    let date = parameter("x-oss-date")?;
    let made = parse_compact(date).ok_or(OssError::NO_DATE)?;
    let seconds = parameter("x-oss-expires")?
        .parse()
        .ok()
        .filter(|seconds| (1..=MAX_EXPIRES_SECONDS).contains(seconds))
        .ok_or_else(|| OssError::argument("x-oss-expires must be 1 to 604800 seconds."))?;
    let end: Timestamp = saturating_add(made, SignedDuration::from_secs(seconds));
    let parsed = Fields {
        credential: parameter("x-oss-credential")?,
        additional: request
            .query_parameter("x-oss-additional-headers")
            .unwrap_or_default(),
        signature: parameter("x-oss-signature")?,
        token: request.query_parameter("x-oss-security-token"),
        date,
        validity: Validity::Between(made, end),
    };
    parsed.into_claim(request, address)
}

/// The fields of a signature, from the header or from the query.
struct Fields<'a> {
    credential: &'a str,
    additional: &'a str,
    signature: &'a str,
    token: Option<&'a str>,
    date: &'a str,
    validity: Validity,
}

impl Fields<'_> {
    fn into_claim(
        self,
        request: &HttpRequest,
        address: &ObjectAddress,
    ) -> Result<ClaimedSignature, OssError> {
        // An AccessKey id has no slash, so that the scope begins after the first one.
        let (id, scope_text) = self
            .credential
            .split_once('/')
            .ok_or_else(|| OssError::argument("The credential has no scope."))?;
        let parts: Vec<&str> = scope_text.split('/').collect();
        let [day, region, "oss", "aliyun_v4_request"] = parts[..] else {
            return Err(OssError::argument("The credential's scope is invalid."));
        };
        if !self.date.starts_with(day) || day.len() != 8 {
            return Err(OssError::argument(
                "The credential's day is not that of x-oss-date.",
            ));
        }
        let canonical_request = canonical_request(request, address, self.additional);
        let string_to_sign = format!(
            "{ALGORITHM}\n{}\n{scope_text}\n{}",
            self.date,
            hex_sha256(canonical_request.as_bytes())
        );
        Ok(ClaimedSignature {
            access_key_id: id.to_owned(),
            token: self.token.map(str::to_owned),
            string_to_sign,
            canonical_request,
            signature: self.signature.to_owned(),
            validity: self.validity,
            scope: Some(Scope {
                day: day.to_owned(),
                region: region.to_owned(),
                family: Family::Oss,
            }),
        })
    }
}

fn canonical_request(request: &HttpRequest, address: &ObjectAddress, additional: &str) -> String {
    let mut query: Vec<(String, String)> = request
        .query
        .iter()
        .filter(|(name, _)| name != "x-oss-signature")
        .map(|(name, value)| (percent_encode(name), percent_encode(value)))
        .collect();
    query.sort();
    let query: Vec<String> = query
        .into_iter()
        .map(|(name, value)| match value.as_str() {
            "" => name,
            value => format!("{name}={value}"),
        })
        .collect();
    let mut additional: Vec<String> = additional
        .split(';')
        .filter(|name| !name.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    additional.sort();
    let mut headers: Vec<&(String, String)> = request
        .headers
        .iter()
        .filter(|(name, _)| {
            name.starts_with("x-oss-")
                || name == "content-type"
                || name == "content-md5"
                || additional.contains(name)
        })
        .collect();
    headers.sort();
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    format!(
        "{}\n{}\n{}\n{}\n{}\n{UNSIGNED_PAYLOAD}",
        request.method,
        percent_encode_path(&address.signed_path()),
        query.join("&"),
        headers,
        additional.join(";"),
    )
}
