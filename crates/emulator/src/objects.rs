//! The objects, in memory and within bounds.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::oss_error::OssError;

/// The largest object, in bytes.
pub(crate) const LARGEST: usize = 5 * 1024 * 1024;

/// All objects together, in bytes.
const ALL: usize = 64 * 1024 * 1024;

#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: String,
    /// `x-oss-meta-*`, as they came.
    pub(crate) meta: Vec<(String, String)>,
    /// MD5 in upper-case hex, in double quotes.
    pub(crate) etag: String,
    /// CRC-64/XZ in decimal, which clients compare with their own.
    pub(crate) crc64: u64,
    pub(crate) modified: Timestamp,
}

/// Every bucket's objects, by key.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    buckets: BTreeMap<String, BTreeMap<String, Object>>,
    size: usize,
}

impl Objects {
    pub(crate) fn put(&mut self, bucket: &str, key: &str, object: Object) -> Result<(), OssError> {
        let objects = self.buckets.entry(bucket.to_owned()).or_default();
        let replaced = objects.get(key).map_or(0, |old| old.body.len());
        let size = self.size - replaced + object.body.len();
        if size > ALL {
            return Err(OssError::QuotaExceeded);
        }
        self.size = size;
        objects.insert(key.to_owned(), object);
        Ok(())
    }

    pub(crate) fn find(&self, bucket: &str, key: &str) -> Option<&Object> {
        self.buckets.get(bucket)?.get(key)
    }

    /// Removing what is not there succeeds, as in the service.
    pub(crate) fn remove(&mut self, bucket: &str, key: &str) {
        let removed = self.buckets.get_mut(bucket).and_then(|it| it.remove(key));
        self.size -= removed.map_or(0, |old| old.body.len());
    }

    /// Every object of a bucket whose key follows `after`, in order.
    pub(crate) fn after<'a>(
        &'a self,
        bucket: &str,
        after: &'a str,
    ) -> impl Iterator<Item = (&'a String, &'a Object)> {
        let objects = self.buckets.get(bucket);
        let all = objects.into_iter().flatten();
        all.filter(move |(key, _)| key.as_str() > after)
    }
}
