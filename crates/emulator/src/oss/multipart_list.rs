//! `ListParts` and `ListMultipartUploads`, in pages.

use crate::{
    clock::iso_millis,
    http::{reply::Reply, request::HttpRequest},
    oss::{
        error::OssError,
        multipart::{find_upload, upload_id},
        object_address::ObjectAddress,
        xml::{Document, KeyEncoding},
    },
    state::{EmulatorState, uploads::Upload},
    sync::lock,
};

/// Default and maximum number of entries of a page.
const MAX_ENTRIES: usize = 1000;

/// One page of the list of uploads.
#[derive(Default)]
struct UploadPage<'a> {
    uploads: Vec<(&'a str, &'a Upload)>,
    common_prefixes: Vec<&'a str>,
    /// The key and the upload id of the last entry; `None` on the last page.
    next: Option<(&'a str, &'a str)>,
}

pub(super) fn parts(
    state: &EmulatorState,
    request: &HttpRequest,
    address: &ObjectAddress,
) -> Result<Reply, OssError> {
    let encoding = KeyEncoding::parse(request)?;
    let max_parts = max_entries(request, "max-parts")?;
    let marker = match request.query_parameter("part-number-marker") {
        None | Some("") => 0,
        Some(text) => text.parse().map_err(|_| OssError::InvalidPartNumber)?,
    };
    let id = upload_id(request);
    let upload = find_upload(state, address, id)?;
    let mut after = upload.parts.iter().filter(|(number, _)| **number > marker);
    let page: Vec<_> = after.by_ref().take(max_parts).collect();
    let is_truncated = after.next().is_some();
    let mut document = Document::new("ListPartsResult");
    document.encoding_type(encoding);
    document.field("Bucket", &address.bucket);
    document.key("Key", &address.key, encoding);
    document.field("UploadId", id);
    document.field("StorageClass", "Standard");
    document.field("PartNumberMarker", marker);
    // oss2 requires the field, also in a list without parts.
    let next = page.last().map_or(&0, |(number, _)| *number);
    document.field("NextPartNumberMarker", next);
    document.field("MaxParts", max_parts);
    document.field("IsTruncated", is_truncated);
    for (number, part) in page {
        document.group("Part", |document| {
            document.field("PartNumber", number);
            document.field("LastModified", iso_millis(part.modified));
            document.field("ETag", &part.etag);
            document.field("HashCrc64ecma", part.crc64);
            document.field("Size", part.content.len());
        });
    }
    Ok(Reply::ok("application/xml", document.finish()))
}

pub(super) fn uploads(
    state: &EmulatorState,
    request: &HttpRequest,
    address: &ObjectAddress,
) -> Result<Reply, OssError> {
    let encoding = KeyEncoding::parse(request)?;
    let max_uploads = max_entries(request, "max-uploads")?;
    let parameter = |name| request.query_parameter(name).unwrap_or_default();
    let objects = lock(&state.objects);
    let page = UploadPage::collect(objects.uploads_of(&address.bucket), request, max_uploads);
    let mut document = Document::new("ListMultipartUploadsResult");
    document.encoding_type(encoding);
    document.field("Bucket", &address.bucket);
    document.key("KeyMarker", parameter("key-marker"), encoding);
    document.field("UploadIdMarker", parameter("upload-id-marker"));
    let (next_key, next_id) = page.next.unwrap_or_default();
    document.key("NextKeyMarker", next_key, encoding);
    document.field("NextUploadIdMarker", next_id);
    document.key("Delimiter", parameter("delimiter"), encoding);
    document.key("Prefix", parameter("prefix"), encoding);
    document.field("MaxUploads", max_uploads);
    document.field("IsTruncated", page.next.is_some());
    for (id, upload) in page.uploads {
        document.group("Upload", |document| {
            document.key("Key", &upload.key, encoding);
            document.field("UploadId", id);
            document.field("StorageClass", "Standard");
            document.field("Initiated", iso_millis(upload.initiated));
        });
    }
    for prefix in page.common_prefixes {
        document.group("CommonPrefixes", |document| {
            document.key("Prefix", prefix, encoding);
        });
    }
    Ok(Reply::ok("application/xml", document.finish()))
}

impl<'a> UploadPage<'a> {
    fn collect(
        uploads: Vec<(&'a str, &'a Upload)>,
        request: &HttpRequest,
        max_uploads: usize,
    ) -> Self {
        let parameter = |name| request.query_parameter(name).unwrap_or_default();
        let (prefix, delimiter) = (parameter("prefix"), parameter("delimiter"));
        let (key_marker, id_marker) = (parameter("key-marker"), parameter("upload-id-marker"));
        let mut page = Self::default();
        let mut last = None;
        for (id, upload) in uploads {
            let key = upload.key.as_str();
            let common = common_prefix(key, prefix, delimiter);
            let is_listed = is_after(key, id, key_marker, id_marker)
                && common != Some(key_marker)
                && (common.is_none() || common != page.common_prefixes.last().copied());
            if !key.starts_with(prefix) || !is_listed {
                continue;
            }
            if page.uploads.len() + page.common_prefixes.len() == max_uploads {
                page.next = last;
                break;
            }
            match common {
                Some(common) => {
                    page.common_prefixes.push(common);
                    last = Some((common, ""));
                }
                None => {
                    page.uploads.push((id, upload));
                    last = Some((key, id));
                }
            }
        }
        page
    }
}

/// Returns `true` if an upload is behind the markers. Without `upload-id-marker` all uploads of the
/// marked key are before.
fn is_after(key: &str, id: &str, key_marker: &str, id_marker: &str) -> bool {
    match (key_marker, id_marker) {
        ("", _) => true,
        (_, "") => key > key_marker,
        _ => (key, id) > (key_marker, id_marker),
    }
}

/// Returns the part of a key up to the first delimiter after the prefix.
fn common_prefix<'k>(key: &'k str, prefix: &str, delimiter: &str) -> Option<&'k str> {
    if delimiter.is_empty() {
        return None;
    }
    let rest = key.strip_prefix(prefix)?;
    let end = rest.find(delimiter)? + prefix.len() + delimiter.len();
    Some(&key[..end])
}

fn max_entries(request: &HttpRequest, name: &str) -> Result<usize, OssError> {
    match request.query_parameter(name) {
        None | Some("") => Ok(MAX_ENTRIES),
        Some(text) => text
            .parse()
            .ok()
            .filter(|count| (1..=MAX_ENTRIES).contains(count))
            .ok_or_else(|| OssError::InvalidArgument(format!("{name} must be 1 to 1000."))),
    }
}
