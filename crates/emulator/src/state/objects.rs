//! The objects and the unfinished uploads of all buckets, in memory, with an upper bound on their
//! size.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    encoding::{md5, upper_hex},
    state::uploads::{Part, Upload},
};

/// Maximum size of the body of one request to OSS, which is one object or one part. rclone uploads up
/// to 200 MiB in one request (`--s3-upload-cutoff`).
pub const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;

/// Maximum size of all objects and parts, names and headers included.
const MAX_TOTAL_BYTES: usize = 1024 * 1024 * 1024;

/// Size of an object, an upload or a part beside its content, name and headers, so that empty ones
/// count too.
const ENTRY_OVERHEAD_BYTES: usize = 512;

/// The checksum that OSS and its clients call crc64ecma.
const CRC64: crc::Crc<u64> = crc::Crc::<u64>::new(&crc::CRC_64_XZ);

/// An object.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) content: Bytes,
    pub(crate) etag: String,
    pub(crate) crc64: u64,
    pub(crate) kind: ObjectKind,
    pub(crate) headers: ObjectHeaders,
    pub(crate) modified: Timestamp,
}

/// The way in which an object was uploaded, as in the header `x-oss-object-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    Normal,
    Multipart,
}

/// The headers that an object keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectHeaders {
    pub(crate) content_type: String,
    /// The headers `x-oss-meta-*` and `x-amz-meta-*`, as sent.
    pub(crate) user_metadata: Vec<(String, String)>,
}

/// The objects and uploads of all buckets. The keys are in byte order, which is the order of OSS's
/// lists.
#[derive(Debug)]
pub(crate) struct Objects {
    buckets: BTreeMap<String, BTreeMap<String, Object>>,
    /// The unfinished uploads, by id.
    uploads: BTreeMap<String, Upload>,
    total_bytes: usize,
    max_total_bytes: usize,
}

/// The objects and parts would exceed the maximum.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CapacityExceeded;

impl Object {
    pub(crate) fn new(content: Bytes, headers: ObjectHeaders, modified: Timestamp) -> Self {
        Self {
            etag: content_etag(&content),
            crc64: crc64(&content),
            content,
            kind: ObjectKind::Normal,
            headers,
            modified,
        }
    }

    fn size_bytes(&self, key: &str) -> usize {
        self.content.len() + key.len() + self.headers.size_bytes() + ENTRY_OVERHEAD_BYTES
    }
}

impl ObjectKind {
    /// Returns the value of the header `x-oss-object-type`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Multipart => "Multipart",
        }
    }
}

impl ObjectHeaders {
    fn size_bytes(&self) -> usize {
        let metadata = self.user_metadata.iter();
        let metadata: usize = metadata.map(|(name, value)| name.len() + value.len()).sum();
        self.content_type.len() + metadata
    }
}

impl Objects {
    pub(crate) fn put(
        &mut self,
        bucket: &str,
        key: &str,
        object: Object,
    ) -> Result<(), CapacityExceeded> {
        let new = object.size_bytes(key);
        let old = self
            .get(bucket, key)
            .map_or(0, |replaced| replaced.size_bytes(key));
        self.reserve(new, old)?;
        self.buckets
            .entry(bucket.to_owned())
            .or_default()
            .insert(key.to_owned(), object);
        Ok(())
    }

    pub(crate) fn get(&self, bucket: &str, key: &str) -> Option<&Object> {
        self.buckets.get(bucket)?.get(key)
    }

    pub(crate) fn delete(&mut self, bucket: &str, key: &str) {
        let Some(objects) = self.buckets.get_mut(bucket) else {
            return;
        };
        if let Some(object) = objects.remove(key) {
            self.total_bytes -= object.size_bytes(key);
        }
    }

    /// Returns `true` if a bucket has neither objects nor unfinished uploads.
    pub(crate) fn is_empty(&self, bucket: &str) -> bool {
        self.buckets.get(bucket).is_none_or(BTreeMap::is_empty)
            && self.uploads.values().all(|upload| upload.bucket != bucket)
    }

    /// Returns the objects whose keys begin with `prefix` and sort after `after`.
    pub(crate) fn list_after<'a>(
        &'a self,
        bucket: &str,
        prefix: &'a str,
        after: &str,
    ) -> impl Iterator<Item = (&'a String, &'a Object)> {
        let from = after.max(prefix).to_owned();
        let after = after.to_owned();
        self.buckets
            .get(bucket)
            .into_iter()
            .flat_map(move |objects| objects.range(from.clone()..))
            .skip_while(move |(key, _)| **key <= after && !after.is_empty())
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    pub(crate) fn add_upload(&mut self, id: &str, upload: Upload) -> Result<(), CapacityExceeded> {
        let size = upload_size_bytes(&upload);
        self.reserve(size, 0)?;
        self.uploads.insert(id.to_owned(), upload);
        Ok(())
    }

    /// Returns the unfinished upload with that id, if it is one of the object.
    pub(crate) fn upload(&self, bucket: &str, key: &str, id: &str) -> Option<&Upload> {
        let upload = self.uploads.get(id)?;
        (upload.bucket == bucket && upload.key == key).then_some(upload)
    }

    /// Returns the unfinished uploads of a bucket with their ids, by key and id.
    pub(crate) fn uploads_of(&self, bucket: &str) -> Vec<(&str, &Upload)> {
        let mut found: Vec<(&str, &Upload)> = self
            .uploads
            .iter()
            .filter(|(_, upload)| upload.bucket == bucket)
            .map(|(id, upload)| (id.as_str(), upload))
            .collect();
        found.sort_by(|a, b| (&a.1.key, a.0).cmp(&(&b.1.key, b.0)));
        found
    }

    /// Adds a part to an upload, or replaces the part with that number. An unknown id is ignored.
    pub(crate) fn put_part(
        &mut self,
        id: &str,
        number: u16,
        part: Part,
    ) -> Result<(), CapacityExceeded> {
        let parts = self.uploads.get(id).map(|upload| &upload.parts);
        let old = parts
            .and_then(|parts| parts.get(&number))
            .map_or(0, part_size_bytes);
        if parts.is_none() {
            return Ok(());
        }
        self.reserve(part_size_bytes(&part), old)?;
        if let Some(upload) = self.uploads.get_mut(id) {
            upload.parts.insert(number, part);
        }
        Ok(())
    }

    /// Removes an upload and its parts.
    pub(crate) fn remove_upload(&mut self, id: &str) {
        if let Some(upload) = self.uploads.remove(id) {
            self.total_bytes -= upload_size_bytes(&upload);
        }
    }

    /// Replaces `old` of the counted bytes by `new`.
    fn reserve(&mut self, new: usize, old: usize) -> Result<(), CapacityExceeded> {
        let total_bytes = self.total_bytes - old + new;
        if total_bytes > self.max_total_bytes {
            return Err(CapacityExceeded);
        }
        self.total_bytes = total_bytes;
        Ok(())
    }
}

impl Default for Objects {
    fn default() -> Self {
        Self {
            buckets: BTreeMap::new(),
            uploads: BTreeMap::new(),
            total_bytes: 0,
            max_total_bytes: MAX_TOTAL_BYTES,
        }
    }
}

/// Returns the ETag of a content: its MD5 in upper case, in quotes.
pub(crate) fn content_etag(content: &[u8]) -> String {
    format!("\"{}\"", upper_hex(&md5(content)))
}

pub(crate) fn crc64(content: &[u8]) -> u64 {
    CRC64.checksum(content)
}

fn upload_size_bytes(upload: &Upload) -> usize {
    let parts: usize = upload.parts.values().map(part_size_bytes).sum();
    upload.key.len() + upload.headers.size_bytes() + parts + ENTRY_OVERHEAD_BYTES
}

fn part_size_bytes(part: &Part) -> usize {
    part.content.len() + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODIFIED: Timestamp = Timestamp::UNIX_EPOCH;

    fn headers() -> ObjectHeaders {
        ObjectHeaders {
            content_type: "text/plain".to_owned(),
            user_metadata: vec![("x-oss-meta-a".to_owned(), "b".to_owned())],
        }
    }

    fn object(size: usize) -> Object {
        Object::new(vec![0; size].into(), headers(), MODIFIED)
    }

    fn part(size: usize) -> Part {
        Part::new(vec![0; size].into(), MODIFIED)
    }

    #[test]
    fn replaced_and_removed_entries_free_their_bytes() {
        let mut objects = Objects {
            max_total_bytes: 10_000,
            ..Objects::default()
        };
        objects.put("b", "k", object(8000)).expect("it fits");
        assert_eq!(objects.put("b", "l", object(8000)), Err(CapacityExceeded));
        objects.put("b", "k", object(7000)).expect("it replaces");
        objects.delete("b", "k");
        objects.delete("b", "k");
        let upload = Upload::new("b", "k", headers(), MODIFIED);
        objects.add_upload("U", upload).expect("it fits");
        objects.put_part("U", 1, part(8000)).expect("it fits");
        assert_eq!(objects.put_part("U", 2, part(4000)), Err(CapacityExceeded));
        objects.put_part("U", 1, part(4000)).expect("it replaces");
        objects.put_part("U", 2, part(4000)).expect("it fits now");
        objects.remove_upload("U");
        objects
            .put_part("U", 1, part(4000))
            .expect("no such upload");
        assert_eq!(objects.total_bytes, 0);
    }

    #[test]
    fn upload_belongs_to_one_object() {
        let mut objects = Objects::default();
        for (id, key) in [("2", "b"), ("1", "b"), ("3", "a")] {
            let upload = Upload::new("bucket", key, headers(), MODIFIED);
            objects.add_upload(id, upload).expect("it fits");
        }
        assert!(objects.upload("bucket", "b", "1").is_some());
        assert!(objects.upload("bucket", "a", "1").is_none());
        assert!(objects.upload("other", "b", "1").is_none());
        let ids: Vec<_> = objects.uploads_of("bucket").iter().map(|it| it.0).collect();
        assert_eq!(ids, ["3", "1", "2"]);
    }
}
