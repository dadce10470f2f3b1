//! The objects of all buckets, in memory, with an upper bound on their size.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::encoding::md5;

/// Maximum size of one object.
pub const MAX_OBJECT_BYTES: usize = 5 * 1024 * 1024;

/// Maximum size of all objects, names and headers included.
const MAX_TOTAL_BYTES: usize = 64 * 1024 * 1024;

/// Size of an object beside its content, name and headers, so that empty objects count too.
const OBJECT_OVERHEAD_BYTES: usize = 512;

/// The checksum that OSS and its clients call crc64ecma.
const CRC64: crc::Crc<u64> = crc::Crc::<u64>::new(&crc::CRC_64_XZ);

/// An object.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) content: Vec<u8>,
    pub(crate) etag: String,
    pub(crate) crc64: u64,
    pub(crate) content_type: String,
    /// The headers `x-oss-meta-*` and `x-amz-meta-*`, as sent.
    pub(crate) user_metadata: Vec<(String, String)>,
    pub(crate) modified: Timestamp,
}

/// The objects of all buckets. The keys are in byte order, which is the order of OSS's lists.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    buckets: BTreeMap<String, BTreeMap<String, Object>>,
    total_bytes: usize,
}

/// The objects would exceed [`MAX_TOTAL_BYTES`].
#[derive(Debug)]
pub(crate) struct CapacityExceeded;

impl Object {
    pub(crate) fn new(
        content: Vec<u8>,
        content_type: &str,
        user_metadata: Vec<(String, String)>,
        modified: Timestamp,
    ) -> Self {
        let digest: String = md5(&content)
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        Self {
            etag: format!("\"{digest}\""),
            crc64: CRC64.checksum(&content),
            content,
            content_type: content_type.to_owned(),
            user_metadata,
            modified,
        }
    }

    fn size_bytes(&self, key: &str) -> usize {
        let metadata: usize = self
            .user_metadata
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.content.len() + key.len() + self.content_type.len() + metadata + OBJECT_OVERHEAD_BYTES
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
        let total_bytes = self.total_bytes - old + new;
        if total_bytes > MAX_TOTAL_BYTES {
            return Err(CapacityExceeded);
        }
        self.total_bytes = total_bytes;
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
}
