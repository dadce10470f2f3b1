//! The state of the emulator, shared by its three services.

pub(crate) mod buckets;
pub(crate) mod imds;
pub(crate) mod nonces;
pub(crate) mod objects;
pub(crate) mod sessions;
pub(crate) mod stats;
pub(crate) mod uploads;

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use crate::{
    account::model::{AccountModel, LongLivedKey},
    clock::Clock,
    fault::queue::Faults,
    jwt::{SigningKeys, key_set::KeySet},
    saml::SealKey,
    state::{
        buckets::{Buckets, StoredBucket},
        imds::ImdsState,
        nonces::Nonces,
        objects::Objects,
        sessions::Sessions,
        stats::Stats,
    },
    sync::lock,
};

/// The account model, and what calls have changed since the start.
#[derive(Debug)]
pub(crate) struct EmulatorState {
    pub(crate) account: AccountModel,
    pub(crate) clock: Clock,
    max_session_lifetime: Option<Duration>,
    /// The keys whose status was set since the start, by AccessKey id; `true` is active.
    key_status: Mutex<BTreeMap<String, bool>>,
    /// The keys of the OIDC providers that have no `jwks`.
    pub(crate) oidc_keys: SigningKeys,
    pub(crate) oidc_public_keys: KeySet,
    /// The key of the SAML providers.
    pub(crate) saml_key: SealKey,
    pub(crate) sessions: Mutex<Sessions>,
    pub(crate) imds: Mutex<ImdsState>,
    pub(crate) nonces: Mutex<Nonces>,
    pub(crate) buckets: Mutex<Buckets>,
    pub(crate) objects: Mutex<Objects>,
    pub(crate) stats: Mutex<Stats>,
    pub(crate) faults: Faults,
}

impl EmulatorState {
    /// Returns the state at the start, with new keys for the identity providers.
    pub(crate) fn new(
        account: AccountModel,
        clock: Clock,
        max_session_lifetime: Option<Duration>,
    ) -> Self {
        let oidc_keys = SigningKeys::new();
        Self {
            oidc_public_keys: oidc_keys.public_keys(),
            oidc_keys,
            buckets: Mutex::new(buckets::of_account(&account, clock.now())),
            account,
            clock,
            max_session_lifetime,
            key_status: Mutex::default(),
            saml_key: SealKey::new(),
            sessions: Mutex::default(),
            imds: Mutex::default(),
            nonces: Mutex::default(),
            objects: Mutex::default(),
            stats: Mutex::default(),
            faults: Faults::default(),
        }
    }

    /// Returns the lifetime, or the maximum of all sessions if that is shorter.
    pub(crate) fn cap_lifetime(&self, lifetime: Duration) -> Duration {
        self.max_session_lifetime
            .map_or(lifetime, |max| max.min(lifetime))
    }

    /// Returns `true` if a long-lived key may sign calls.
    pub(crate) fn is_key_active(&self, id: &str, key: &LongLivedKey) -> bool {
        lock(&self.key_status)
            .get(id)
            .copied()
            .unwrap_or(key.active)
    }

    /// Returns the bucket with that name.
    pub(crate) fn find_bucket(&self, name: &str) -> Option<StoredBucket> {
        lock(&self.buckets).get(name).cloned()
    }

    /// Sets the status of a long-lived key; `false` if the account model has no such key.
    pub(crate) fn set_key_status(&self, id: &str, active: bool) -> bool {
        let is_known = self.account.keys.contains_key(id);
        if is_known {
            lock(&self.key_status).insert(id.to_owned(), active);
        }
        is_known
    }
}
