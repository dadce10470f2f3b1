//! OSS signature V4: HMAC-SHA256 with a key made for one day and one region.

use jiff::{SignedDuration, Timestamp};

use crate::{
    clock::{parse_compact, shifted},
    encoding::{escape, escape_path, hex, hex_sha256, hmac_sha256},
    http::request::HttpRequest,
    oss::{
        error::OssError,
        object_address::Place,
        signature::{Claim, Family, Scope, Validity},
    },
};

const ALGORITHM: &str = "OSS4-HMAC-SHA256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const WEEK_SECONDS: i64 = 7 * 24 * 3600;

pub(crate) fn read_header(
    request: &HttpRequest,
    place: &Place,
    authorization: &str,
) -> Result<Claim, OssError> {
    let fields = authorization
        .strip_prefix(ALGORITHM)
        .ok_or_else(|| OssError::argument("Authorization header is invalid."))?;
    // oss2 separates by ", " and puts AdditionalHeaders last; the others do not.
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
    if payload != UNSIGNED {
        return Err(OssError::argument(
            "The header x-oss-content-sha256 must be UNSIGNED-PAYLOAD.",
        ));
    }
    let date = request.header("x-oss-date").ok_or(OssError::NO_DATE)?;
    let made = parse_compact(date).ok_or(OssError::NO_DATE)?;
    let draft = Draft {
        credential: required("Credential")?,
        additional: field("AdditionalHeaders").unwrap_or_default(),
        signature: required("Signature")?,
        token: request.header("x-oss-security-token"),
        date,
        validity: Validity::Around(made),
    };
    draft.finish(request, place)
}

pub(crate) fn read_query(request: &HttpRequest, place: &Place) -> Result<Claim, OssError> {
    let parameter = |name: &str| {
        request
            .parameter(name)
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
        .filter(|seconds| (1..=WEEK_SECONDS).contains(seconds))
        .ok_or_else(|| OssError::argument("x-oss-expires must be 1 to 604800 seconds."))?;
    let end: Timestamp = shifted(made, SignedDuration::from_secs(seconds));
    let draft = Draft {
        credential: parameter("x-oss-credential")?,
        additional: request
            .parameter("x-oss-additional-headers")
            .unwrap_or_default(),
        signature: parameter("x-oss-signature")?,
        token: request.parameter("x-oss-security-token"),
        date,
        validity: Validity::Between(made, end),
    };
    draft.finish(request, place)
}

/// The parts of a claim, wherever they were found.
struct Draft<'a> {
    credential: &'a str,
    additional: &'a str,
    signature: &'a str,
    token: Option<&'a str>,
    date: &'a str,
    validity: Validity,
}

impl Draft<'_> {
    fn finish(self, request: &HttpRequest, place: &Place) -> Result<Claim, OssError> {
        // A key id holds no slash, so the scope is what follows the first one.
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
        let canonical_request = canonical_request(request, place, self.additional);
        let string_to_sign = format!(
            "{ALGORITHM}\n{}\n{scope_text}\n{}",
            self.date,
            hex_sha256(canonical_request.as_bytes())
        );
        Ok(Claim {
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

fn canonical_request(request: &HttpRequest, place: &Place, additional: &str) -> String {
    // The bucket is in it even when it travelled in Host.
    let path = match place.bucket.as_str() {
        "" => "/".to_owned(),
        bucket => format!("/{bucket}/{}", place.key),
    };
    let mut query: Vec<(String, String)> = request
        .query
        .iter()
        .filter(|(name, _)| name != "x-oss-signature")
        .map(|(name, value)| (escape(name), escape(value)))
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
        "{}\n{}\n{}\n{}\n{}\n{UNSIGNED}",
        request.method,
        escape_path(&path),
        query.join("&"),
        headers,
        additional.join(";"),
    )
}

pub(crate) fn signature(secret: &str, scope: &Scope, text: &[u8]) -> String {
    let mut key = format!("aliyun_v4{secret}").into_bytes();
    for part in [
        scope.day.as_str(),
        scope.region.as_str(),
        "oss",
        "aliyun_v4_request",
    ] {
        key = hmac_sha256(&key, part.as_bytes());
    }
    hex(&hmac_sha256(&key, text))
}
