//! Listings of a bucket, versions 1 and 2: pages, prefixes and groups.

use std::collections::BTreeSet;

use crate::clock::iso_millis;
use crate::encoding::{escape, escape_xml};
use crate::objects::{Object, Objects};
use crate::oss_error::OssError;
use crate::request::HttpRequest;

/// How many entries a page has when nobody says.
const DEFAULT_KEYS: usize = 100;

/// How many entries a page may have.
const MOST_KEYS: usize = 1000;

/// What a listing is asked for.
struct Wish<'a> {
    second: bool,
    prefix: &'a str,
    delimiter: &'a str,
    after: String,
    max_keys: usize,
    encoded: bool,
}

impl<'a> Wish<'a> {
    fn read(request: &'a HttpRequest) -> Result<Self, OssError> {
        let value = |name| request.parameter(name).unwrap_or_default();
        let second = value("list-type") == "2";
        let after = match (second, value("continuation-token")) {
            (false, _) => value("marker").to_owned(),
            (true, "") => value("start-after").to_owned(),
            (true, token) => read_token(token)?,
        };
        let max_keys = match value("max-keys") {
            "" => DEFAULT_KEYS,
            text => text
                .parse()
                .ok()
                .filter(|count| (1..=MOST_KEYS).contains(count))
                .ok_or_else(|| OssError::argument("max-keys is 1 to 1000."))?,
        };
        Ok(Self {
            second,
            prefix: value("prefix"),
            delimiter: value("delimiter"),
            after,
            max_keys,
            encoded: value("encoding-type") == "url",
        })
    }

    fn text(&self, text: &str) -> String {
        if self.encoded {
            escape(text)
        } else {
            escape_xml(text)
        }
    }
}

/// The document that answers a listing.
pub(crate) fn document(
    request: &HttpRequest,
    bucket: &str,
    objects: &Objects,
) -> Result<String, OssError> {
    let wish = Wish::read(request)?;
    let mut entries: Vec<(&String, &Object)> = Vec::new();
    let mut groups: BTreeSet<&str> = BTreeSet::new();
    let mut last = "";
    let mut truncated = false;
    for (key, object) in objects.after(bucket, &wish.after) {
        let Some(rest) = key.strip_prefix(wish.prefix) else {
            continue;
        };
        let cut = (!wish.delimiter.is_empty())
            .then(|| rest.find(wish.delimiter))
            .flatten();
        let group = cut.map(|at| &key[..wish.prefix.len() + at + wish.delimiter.len()]);
        // A page may end in the middle of a group, which the page before has shown.
        if group.is_some_and(|it| groups.contains(it) || wish.after.starts_with(it)) {
            last = key;
            continue;
        }
        if entries.len() + groups.len() == wish.max_keys {
            truncated = true;
            break;
        }
        match group {
            Some(group) => _ = groups.insert(group),
            None => entries.push((key, object)),
        }
        last = key;
    }
    Ok(write(
        &wish,
        bucket,
        &entries,
        &groups,
        truncated.then_some(last),
    ))
}

fn write(
    wish: &Wish<'_>,
    bucket: &str,
    entries: &[(&String, &Object)],
    groups: &BTreeSet<&str>,
    next: Option<&str>,
) -> String {
    let tag = |name: &str, value: &str| format!("  <{name}>{value}</{name}>\n");
    let mut body = tag("Name", bucket) + &tag("Prefix", &wish.text(wish.prefix));
    body += &tag("MaxKeys", &wish.max_keys.to_string());
    body += &tag("Delimiter", &wish.text(wish.delimiter));
    if wish.encoded {
        body += &tag("EncodingType", "url");
    }
    body += &tag("IsTruncated", if next.is_some() { "true" } else { "false" });
    match (wish.second, next) {
        (false, next) => {
            body += &tag("Marker", &wish.text(&wish.after));
            let next = next.map(|next| tag("NextMarker", &wish.text(next)));
            body += &next.unwrap_or_default();
        }
        (true, next) => {
            body += &tag("KeyCount", &(entries.len() + groups.len()).to_string());
            let next = next.map(|next| tag("NextContinuationToken", &token(next)));
            body += &next.unwrap_or_default();
        }
    }
    for (key, object) in entries {
        body += "  <Contents>\n";
        body += &tag("Key", &wish.text(key));
        body += &tag("LastModified", &iso_millis(object.modified));
        body += &tag("ETag", &escape_xml(&object.etag));
        body += &tag("Type", "Normal");
        body += &tag("Size", &object.body.len().to_string());
        body += &tag("StorageClass", "Standard");
        body += "  </Contents>\n";
    }
    for group in groups {
        body += &format!(
            "  <CommonPrefixes>\n  {}  </CommonPrefixes>\n",
            tag("Prefix", &wish.text(group))
        );
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult>\n{body}</ListBucketResult>\n"
    )
}

/// A token is opaque to clients; ours is the last key in hex.
fn token(key: &str) -> String {
    crate::encoding::hex(key.as_bytes())
}

fn read_token(token: &str) -> Result<String, OssError> {
    let bytes: Option<Vec<u8>> = token
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| OssError::argument("The continuation-token is not one of ours."))
}
