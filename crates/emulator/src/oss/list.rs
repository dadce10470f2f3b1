//! `ListObjects` in both versions: pages, common prefixes, escaped names.

use crate::{
    clock::iso_millis,
    encoding::{base64, decode_base64_text, escape_xml},
    http::request::HttpRequest,
    oss::{error::OssError, xml::KeyEncoding},
    state::objects::Objects,
};

const DEFAULT_MAX_KEYS: usize = 100;
const MAX_MAX_KEYS: usize = 1000;

/// The parameters of a request.
struct ListObjectsRequest<'a> {
    /// `true` for `list-type=2`.
    is_v2: bool,
    prefix: &'a str,
    delimiter: &'a str,
    /// `marker` or `start-after`, as sent.
    start: &'a str,
    /// `continuation-token`, as sent.
    token: &'a str,
    /// The key or common prefix after which the page begins.
    after: String,
    max_keys: usize,
    encoding: KeyEncoding,
}

/// One page of the list.
#[derive(Default)]
struct Page {
    /// The XML of the objects.
    contents: String,
    common_prefixes: Vec<String>,
    count: usize,
    /// The last key or common prefix; `None` on the last page.
    next: Option<String>,
}

impl<'a> ListObjectsRequest<'a> {
    fn parse(request: &'a HttpRequest) -> Result<Self, OssError> {
        let parameter = |name| request.query_parameter(name).unwrap_or_default();
        let is_v2 = parameter("list-type") == "2";
        let max_keys = match parameter("max-keys") {
            "" => DEFAULT_MAX_KEYS,
            text => text
                .parse()
                .ok()
                .filter(|count| (1..=MAX_MAX_KEYS).contains(count))
                .ok_or_else(|| OssError::argument("max-keys must be 1 to 1000."))?,
        };
        let encoding = KeyEncoding::parse(request)?;
        let (start, token) = if is_v2 {
            (parameter("start-after"), parameter("continuation-token"))
        } else {
            (parameter("marker"), "")
        };
        let after = match token {
            "" => start.to_owned(),
            token => decode_base64_text(token)
                .ok_or_else(|| OssError::argument("The continuation token is invalid."))?,
        };
        Ok(Self {
            is_v2,
            prefix: parameter("prefix"),
            delimiter: parameter("delimiter"),
            start,
            token,
            after,
            max_keys,
            encoding,
        })
    }

    /// Returns the part of a key up to the first delimiter after the prefix; `None` for a key
    /// without such a delimiter.
    fn common_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        if self.delimiter.is_empty() {
            return None;
        }
        let rest = &key[self.prefix.len()..];
        let end = rest.find(self.delimiter)? + self.prefix.len() + self.delimiter.len();
        Some(&key[..end])
    }
}

/// Returns the XML of one page.
pub(crate) fn run(
    objects: &Objects,
    bucket: &str,
    account: &str,
    request: &HttpRequest,
) -> Result<String, OssError> {
    let request = ListObjectsRequest::parse(request)?;
    let page = collect_page(objects, bucket, account, &request);
    Ok(to_xml(bucket, &request, &page))
}

fn collect_page(
    objects: &Objects,
    bucket: &str,
    account: &str,
    request: &ListObjectsRequest<'_>,
) -> Page {
    let mut page = Page::default();
    let mut last = String::new();
    for (key, object) in objects.list_after(bucket, request.prefix, &request.after) {
        let common_prefix = request.common_prefix(key);
        // A common prefix is one entry, and the last one of a page is not repeated on the next.
        if common_prefix.is_some_and(|prefix| {
            prefix == request.after || page.common_prefixes.last().is_some_and(|p| p == prefix)
        }) {
            continue;
        }
        if page.count == request.max_keys {
            page.next = Some(last);
            break;
        }
        page.count += 1;
        if let Some(prefix) = common_prefix {
            page.common_prefixes.push(prefix.to_owned());
            prefix.clone_into(&mut last);
            continue;
        }
        page.contents.push_str(&format!(
            "  <Contents>\n    <Key>{}</Key>\n    <LastModified>{}</LastModified>\n    \
             <ETag>{}</ETag>\n    <Type>Normal</Type>\n    <Size>{}</Size>\n    \
             <StorageClass>Standard</StorageClass>\n    <Owner><ID>{account}</ID>\
             <DisplayName>{account}</DisplayName></Owner>\n  </Contents>\n",
            request.encoding.encode(key),
            iso_millis(object.modified),
            escape_xml(&object.etag),
            object.content.len(),
        ));
        key.clone_into(&mut last);
    }
    page
}

fn to_xml(bucket: &str, request: &ListObjectsRequest<'_>, page: &Page) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult>\n");
    let mut field = |tag: &str, value: &str| xml.push_str(&format!("  <{tag}>{value}</{tag}>\n"));
    field("Name", &escape_xml(bucket));
    field("Prefix", &request.encoding.encode(request.prefix));
    field("MaxKeys", &request.max_keys.to_string());
    field("Delimiter", &request.encoding.encode(request.delimiter));
    if request.encoding == KeyEncoding::Url {
        field("EncodingType", "url");
    }
    field("IsTruncated", &page.next.is_some().to_string());
    if request.is_v2 {
        field("StartAfter", &request.encoding.encode(request.start));
        if !request.token.is_empty() {
            field("ContinuationToken", &escape_xml(request.token));
        }
        field("KeyCount", &page.count.to_string());
        if let Some(next) = &page.next {
            field("NextContinuationToken", &base64(next.as_bytes()));
        }
    } else {
        field("Marker", &request.encoding.encode(request.start));
        if let Some(next) = &page.next {
            field("NextMarker", &request.encoding.encode(next));
        }
    }
    xml.push_str(&page.contents);
    for prefix in &page.common_prefixes {
        xml.push_str(&format!(
            "  <CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>\n",
            request.encoding.encode(prefix)
        ));
    }
    xml.push_str("</ListBucketResult>\n");
    xml
}
