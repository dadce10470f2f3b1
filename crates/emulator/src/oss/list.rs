//! Listings of a bucket, versions 1 and 2: pages, common prefixes, escaped names.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    clock::iso_millis,
    encoding::{base64, escape_path, escape_xml},
    http::request::HttpRequest,
    oss::error::OssError,
    state::objects::Objects,
};

const DEFAULT_KEYS: usize = 100;
const MOST_KEYS: usize = 1000;

/// What a caller asked to see.
struct Wish<'a> {
    second_version: bool,
    prefix: &'a str,
    delimiter: &'a str,
    /// `marker` or `start-after`, as sent.
    start: &'a str,
    /// `continuation-token`, as sent.
    token: &'a str,
    /// The key or common prefix after which the page begins.
    after: String,
    max_keys: usize,
    escaped: bool,
}

impl<'a> Wish<'a> {
    fn read(request: &'a HttpRequest) -> Result<Self, OssError> {
        let said = |name| request.parameter(name).unwrap_or_default();
        let second_version = said("list-type") == "2";
        let max_keys = match said("max-keys") {
            "" => DEFAULT_KEYS,
            text => text
                .parse()
                .ok()
                .filter(|count| (1..=MOST_KEYS).contains(count))
                .ok_or_else(|| OssError::argument("max-keys must be 1 to 1000."))?,
        };
        let escaped = match said("encoding-type") {
            "" => false,
            "url" => true,
            _ => return Err(OssError::argument("encoding-type must be url.")),
        };
        let start = said(if second_version {
            "start-after"
        } else {
            "marker"
        });
        let token = if second_version {
            said("continuation-token")
        } else {
            ""
        };
        let after = match token {
            "" => start.to_owned(),
            token => STANDARD
                .decode(token)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| OssError::argument("The continuation token is invalid."))?,
        };
        Ok(Self {
            second_version,
            prefix: said("prefix"),
            delimiter: said("delimiter"),
            start,
            token,
            after,
            max_keys,
            escaped,
        })
    }
}

/// One page.
#[derive(Default)]
struct Page {
    contents: String,
    prefixes: Vec<String>,
    count: usize,
    /// The last key or prefix, when there is more.
    next: Option<String>,
}

/// The listing's XML.
pub(crate) fn list(
    objects: &Objects,
    bucket: &str,
    account: &str,
    request: &HttpRequest,
) -> Result<String, OssError> {
    let wish = Wish::read(request)?;
    let page = turn_page(objects, bucket, account, &wish);
    Ok(write(bucket, &wish, page))
}

fn turn_page(objects: &Objects, bucket: &str, account: &str, wish: &Wish<'_>) -> Page {
    let mut page = Page::default();
    let mut last = String::new();
    for (key, object) in objects.after(bucket, wish.prefix, &wish.after) {
        let folder = common_prefix(key, wish);
        // A folder is one entry, however many keys are under it.
        if folder.is_some_and(|folder| page.prefixes.last().is_some_and(|seen| seen == folder)) {
            continue;
        }
        // A page that ended with a folder is followed by what comes after that folder.
        if folder.is_some_and(|folder| folder == wish.after) {
            continue;
        }
        if page.count == wish.max_keys {
            page.next = Some(last);
            break;
        }
        page.count += 1;
        match folder {
            Some(folder) => {
                page.prefixes.push(folder.to_owned());
                folder.clone_into(&mut last);
            }
            None => {
                page.contents.push_str(&format!(
                    "  <Contents>\n    <Key>{}</Key>\n    <LastModified>{}</LastModified>\n    \
                     <ETag>{}</ETag>\n    <Type>Normal</Type>\n    <Size>{}</Size>\n    \
                     <StorageClass>Standard</StorageClass>\n    <Owner><ID>{account}</ID>\
                     <DisplayName>{account}</DisplayName></Owner>\n  </Contents>\n",
                    name(wish, key),
                    iso_millis(object.modified),
                    escape_xml(&object.etag),
                    object.bytes.len(),
                ));
                key.clone_into(&mut last);
            }
        }
    }
    page
}

/// The part of a key up to the first delimiter after the prefix.
fn common_prefix<'k>(key: &'k str, wish: &Wish<'_>) -> Option<&'k str> {
    if wish.delimiter.is_empty() {
        return None;
    }
    let rest = &key[wish.prefix.len()..];
    let end = rest.find(wish.delimiter)? + wish.prefix.len() + wish.delimiter.len();
    Some(&key[..end])
}

fn write(bucket: &str, wish: &Wish<'_>, page: Page) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult>\n");
    let mut field = |tag: &str, value: &str| xml.push_str(&format!("  <{tag}>{value}</{tag}>\n"));
    field("Name", &escape_xml(bucket));
    field("Prefix", &name(wish, wish.prefix));
    field("MaxKeys", &wish.max_keys.to_string());
    field("Delimiter", &name(wish, wish.delimiter));
    if wish.escaped {
        field("EncodingType", "url");
    }
    field(
        "IsTruncated",
        if page.next.is_some() { "true" } else { "false" },
    );
    if wish.second_version {
        field("StartAfter", &name(wish, wish.start));
        if !wish.token.is_empty() {
            field("ContinuationToken", &escape_xml(wish.token));
        }
        field("KeyCount", &page.count.to_string());
        if let Some(next) = &page.next {
            field("NextContinuationToken", &base64(next.as_bytes()));
        }
    } else {
        field("Marker", &name(wish, wish.start));
        if let Some(next) = &page.next {
            field("NextMarker", &name(wish, next));
        }
    }
    xml.push_str(&page.contents);
    for folder in &page.prefixes {
        xml.push_str(&format!(
            "  <CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>\n",
            name(wish, folder)
        ));
    }
    xml.push_str("</ListBucketResult>\n");
    xml
}

/// A name as this listing writes names.
fn name(wish: &Wish<'_>, text: &str) -> String {
    if wish.escaped {
        escape_path(text)
    } else {
        escape_xml(text)
    }
}
