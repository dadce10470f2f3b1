//! A multipart upload: its parts, and the object that they become.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;

use crate::{
    encoding::{md5, upper_hex},
    state::objects::{Object, ObjectHeaders, ObjectKind, content_etag, crc64},
};

/// Minimum size of each part but the last one (OSS's documentation of `CompleteMultipartUpload`).
const MIN_PART_BYTES: usize = 100 * 1024;

/// An upload that is neither completed nor aborted.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) headers: ObjectHeaders,
    pub(crate) initiated: Timestamp,
    /// The parts, by number.
    pub(crate) parts: BTreeMap<u16, Part>,
}

/// One part.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) content: Bytes,
    pub(crate) etag: String,
    pub(crate) crc64: u64,
    pub(crate) modified: Timestamp,
}

/// A part that a request to complete an upload names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedPart {
    pub(crate) number: u16,
    /// The ETag, without quotes.
    pub(crate) etag: String,
}

/// The reason for which an upload was not completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompleteError {
    /// No part was named.
    NoParts,
    /// A number is not greater than the one before.
    Order,
    /// A part was not uploaded, or has another ETag.
    Part,
    /// A part before the last one is smaller than 100 KiB.
    TooSmall,
}

impl Upload {
    pub(crate) fn new(
        bucket: &str,
        key: &str,
        headers: ObjectHeaders,
        initiated: Timestamp,
    ) -> Self {
        Self {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            headers,
            initiated,
            parts: BTreeMap::new(),
        }
    }

    /// Returns all uploaded parts as a request to complete the upload would name them.
    pub(crate) fn all_parts(&self) -> Vec<NamedPart> {
        let parts = self.parts.iter();
        let named = |(number, part): (&u16, &Part)| NamedPart {
            number: *number,
            etag: part.etag.trim_matches('"').to_owned(),
        };
        parts.map(named).collect()
    }

    /// Returns the object that the named parts make.
    ///
    /// Its ETag is the MD5 of the parts' MD5, in upper case, and the number of parts.
    pub(crate) fn complete(
        &self,
        named: &[NamedPart],
        now: Timestamp,
    ) -> Result<Object, CompleteError> {
        let parts = self.find_parts(named)?;
        let mut content =
            BytesMut::with_capacity(parts.iter().map(|part| part.content.len()).sum());
        let mut digests = Vec::new();
        for part in &parts {
            content.extend_from_slice(&part.content);
            digests.extend(md5(&part.content));
        }
        let content = content.freeze();
        Ok(Object {
            etag: format!("\"{}-{}\"", upper_hex(&md5(&digests)), parts.len()),
            crc64: crc64(&content),
            content,
            kind: ObjectKind::Multipart,
            headers: self.headers.clone(),
            modified: now,
        })
    }

    fn find_parts(&self, named: &[NamedPart]) -> Result<Vec<&Part>, CompleteError> {
        if named.is_empty() {
            return Err(CompleteError::NoParts);
        }
        if !named.is_sorted_by(|a, b| a.number < b.number) {
            return Err(CompleteError::Order);
        }
        let mut parts = Vec::new();
        for NamedPart { number, etag } in named {
            let part = self.parts.get(number).ok_or(CompleteError::Part)?;
            if !part.etag.trim_matches('"').eq_ignore_ascii_case(etag) {
                return Err(CompleteError::Part);
            }
            parts.push(part);
        }
        let before_last = &parts[..parts.len() - 1];
        match before_last
            .iter()
            .any(|part| part.content.len() < MIN_PART_BYTES)
        {
            true => Err(CompleteError::TooSmall),
            false => Ok(parts),
        }
    }
}

impl Part {
    pub(crate) fn new(content: Bytes, modified: Timestamp) -> Self {
        Self {
            etag: content_etag(&content),
            crc64: crc64(&content),
            content,
            modified,
        }
    }
}
