//! The buckets: those of the account model, and those created since the start.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::account::model::AccountModel;

/// A bucket.
#[derive(Debug, Clone)]
pub(crate) struct StoredBucket {
    pub(crate) region: String,
    pub(crate) created: Timestamp,
}

/// The buckets, by name.
pub(crate) type Buckets = BTreeMap<String, StoredBucket>;

/// Returns the buckets of an account model, created at the start.
pub(crate) fn of_account(account: &AccountModel, started: Timestamp) -> Buckets {
    let buckets = account.buckets.iter();
    let stored = buckets.map(|(name, bucket)| {
        let region = bucket.region.clone();
        let created = started;
        (name.clone(), StoredBucket { region, created })
    });
    stored.collect()
}
