//! The objects, in memory and within bounds.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{encoding::md5, oss::error::OssError};

/// The largest object.
pub const LARGEST: usize = 5 * 1024 * 1024;

/// All objects together, names and headers included.
pub const CAPACITY: usize = 64 * 1024 * 1024;

/// What an object costs beside its bytes and its name; an empty one is not free.
const OVERHEAD: usize = 512;

/// The checksum that OSS and its clients call crc64ecma.
const CRC: crc::Crc<u64> = crc::Crc::<u64>::new(&crc::CRC_64_XZ);

#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) bytes: Vec<u8>,
    pub(crate) etag: String,
    pub(crate) crc64: u64,
    pub(crate) content_type: String,
    /// `x-oss-meta-*` and `x-amz-meta-*`, as sent.
    pub(crate) meta: Vec<(String, String)>,
    pub(crate) modified: Timestamp,
}

impl Object {
    pub(crate) fn new(
        bytes: Vec<u8>,
        content_type: &str,
        meta: Vec<(String, String)>,
        modified: Timestamp,
    ) -> Self {
        let digest: String = md5(&bytes).iter().map(|b| format!("{b:02X}")).collect();
        Self {
            etag: format!("\"{digest}\""),
            crc64: CRC.checksum(&bytes),
            bytes,
            content_type: content_type.to_owned(),
            meta,
            modified,
        }
    }

    fn cost(&self, key: &str) -> usize {
        let meta: usize = self.meta.iter().map(|(n, v)| n.len() + v.len()).sum();
        self.bytes.len() + key.len() + self.content_type.len() + meta + OVERHEAD
    }
}

/// Every bucket's objects, by key in byte order, which is the order of a listing.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    buckets: BTreeMap<String, BTreeMap<String, Object>>,
    cost: usize,
}

impl Objects {
    pub(crate) fn put(&mut self, bucket: &str, key: &str, object: Object) -> Result<(), OssError> {
        let new = object.cost(key);
        let old = self.find(bucket, key).map_or(0, |known| known.cost(key));
        if self.cost - old + new > CAPACITY {
            return Err(OssError::QuotaExceeded);
        }
        self.cost = self.cost - old + new;
        self.buckets
            .entry(bucket.to_owned())
            .or_default()
            .insert(key.to_owned(), object);
        Ok(())
    }

    pub(crate) fn find(&self, bucket: &str, key: &str) -> Option<&Object> {
        self.buckets.get(bucket)?.get(key)
    }

    pub(crate) fn delete(&mut self, bucket: &str, key: &str) {
        let Some(objects) = self.buckets.get_mut(bucket) else {
            return;
        };
        if let Some(object) = objects.remove(key) {
            self.cost -= object.cost(key);
        }
    }

    /// The objects whose keys begin with `prefix` and come after `after`.
    pub(crate) fn after<'a>(
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
