//! The operations on buckets.

use crate::{
    clock::{RequestTime, iso_millis},
    http::{reply::Reply, request::HttpRequest},
    oss::{
        endpoint::{DEFAULT_REGION, endpoint_of, region_of_host},
        error::OssError,
        object::no_content,
        object_address::ObjectAddress,
        signature::claim::ClaimedSignature,
        xml::{Document, element_text},
    },
    state::{EmulatorState, buckets::StoredBucket},
    sync::lock,
};

/// Maximum number of buckets of an account (OSS's page "Limits").
const MAX_BUCKETS: usize = 100;

/// Maximum number of buckets in one page of a list.
const MAX_MAX_KEYS: usize = 1000;

/// Returns the region of the bucket that a `PutBucket` creates: `LocationConstraint` of an AWS SDK,
/// else the region of the host, else that of the signature, else OSS's default.
pub(super) fn new_region(
    request: &HttpRequest,
    address: &ObjectAddress,
    claim: &ClaimedSignature,
) -> String {
    let body = std::str::from_utf8(&request.body).unwrap_or_default();
    let constraint = element_text(body, "LocationConstraint").filter(|text| !text.is_empty());
    let host = request.header("host").unwrap_or_default();
    let signed = claim.scope.as_ref().map(|scope| scope.region.as_str());
    let region = constraint
        .as_deref()
        .or_else(|| region_of_host(host, &address.bucket))
        .or(signed)
        .unwrap_or(DEFAULT_REGION);
    region.strip_prefix("oss-").unwrap_or(region).to_owned()
}

/// Checks the name of a new bucket: 3 to 63 letters in lower case, digits and hyphens, with no
/// hyphen at either end.
pub(super) fn check_name(name: &str) -> Result<(), OssError> {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_valid = (3..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| is_alphanumeric(byte) || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    match is_valid {
        true => Ok(()),
        false => Err(OssError::InvalidBucketName),
    }
}

/// Creates a bucket. A bucket of the account that exists in the same region stays as it is.
pub(super) fn put(
    state: &EmulatorState,
    address: &ObjectAddress,
    region: &str,
    now: RequestTime,
) -> Result<Reply, OssError> {
    let mut buckets = lock(&state.buckets);
    match buckets.get(&address.bucket) {
        Some(bucket) if bucket.region != region => return Err(OssError::BucketLocation),
        Some(_) => {}
        None if buckets.len() >= MAX_BUCKETS => return Err(OssError::TooManyBuckets),
        None => {
            let bucket = StoredBucket {
                region: region.to_owned(),
                created: now.server,
            };
            buckets.insert(address.bucket.clone(), bucket);
        }
    }
    let location = format!("/{}", address.bucket);
    Ok(Reply::ok("application/xml", "").with_header("location", location))
}

pub(super) fn delete(state: &EmulatorState, address: &ObjectAddress) -> Result<Reply, OssError> {
    let name = &address.bucket;
    if !lock(&state.objects).is_empty(name) {
        return Err(OssError::BucketNotEmpty);
    }
    lock(&state.buckets).remove(name);
    Ok(no_content())
}

pub(super) fn list(state: &EmulatorState, request: &HttpRequest) -> Result<Reply, OssError> {
    let parameter = |name| request.query_parameter(name).unwrap_or_default();
    let (prefix, marker) = (parameter("prefix"), parameter("marker"));
    let max_keys = match parameter("max-keys") {
        "" => MAX_BUCKETS,
        text => text
            .parse()
            .ok()
            .filter(|count| (1..=MAX_MAX_KEYS).contains(count))
            .ok_or_else(|| OssError::argument("max-keys must be 1 to 1000."))?,
    };
    let buckets = lock(&state.buckets);
    let mut after = buckets
        .iter()
        .filter(|(name, _)| name.starts_with(prefix) && name.as_str() > marker);
    let page: Vec<_> = after.by_ref().take(max_keys).collect();
    let mut document = Document::new("ListAllMyBucketsResult");
    if after.next().is_some() {
        document.field("Prefix", prefix);
        document.field("Marker", marker);
        document.field("MaxKeys", max_keys);
        document.field("IsTruncated", true);
        document.field("NextMarker", page.last().map_or("", |(name, _)| name));
    }
    owner(&mut document, &state.account.id);
    document.group("Buckets", |document| {
        for (name, bucket) in page {
            document.group("Bucket", |document| describe(document, name, bucket));
        }
    });
    Ok(Reply::ok("application/xml", document.finish()))
}

pub(super) fn info(state: &EmulatorState, address: &ObjectAddress) -> Result<Reply, OssError> {
    let bucket = find(state, address)?;
    let mut document = Document::new("BucketInfo");
    document.group("Bucket", |document| {
        describe(document, &address.bucket, &bucket);
        owner(document, &state.account.id);
        document.group("AccessControlList", |document| {
            document.field("Grant", "private");
        });
    });
    Ok(Reply::ok("application/xml", document.finish()))
}

pub(super) fn location(state: &EmulatorState, address: &ObjectAddress) -> Result<Reply, OssError> {
    let bucket = find(state, address)?;
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <LocationConstraint>oss-{}</LocationConstraint>\n",
        bucket.region
    );
    Ok(Reply::ok("application/xml", xml))
}

fn find(state: &EmulatorState, address: &ObjectAddress) -> Result<StoredBucket, OssError> {
    state
        .find_bucket(&address.bucket)
        .ok_or(OssError::NoSuchBucket)
}

fn describe(document: &mut Document, name: &str, bucket: &StoredBucket) {
    let region = &bucket.region;
    document.field("Name", name);
    document.field("Location", format!("oss-{region}"));
    document.field("Region", region);
    document.field("CreationDate", iso_millis(bucket.created));
    document.field("StorageClass", "Standard");
    document.field("ExtranetEndpoint", endpoint_of(region));
    document.field(
        "IntranetEndpoint",
        endpoint_of(&format!("{region}-internal")),
    );
}

fn owner(document: &mut Document, account: &str) {
    document.group("Owner", |document| {
        document.field("ID", account);
        document.field("DisplayName", account);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_the_convention() {
        let longest = "a".repeat(63);
        for name in ["abc", "a-1", "0bc", longest.as_str()] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let longer = "a".repeat(64);
        for name in ["ab", "-abc", "abc-", "Abc", "a.c", "a_c", longer.as_str()] {
            assert_eq!(check_name(name), Err(OssError::InvalidBucketName), "{name}");
        }
    }
}
