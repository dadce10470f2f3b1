//! The emulated cloud's whole state, shared by its three services.

pub(crate) mod nonces;
pub mod objects;
pub(crate) mod sessions;
pub(crate) mod stats;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    account::{
        model::{LongTermKey, World},
        schema::Status,
    },
    clock::{Clock, shifted},
    control::request as order,
    fault::script::Faults,
    imds::service as metadata,
    jwt::Keys,
    state::{nonces::Nonces, objects::Objects, sessions::Sessions, stats::Stats},
    sts::assume_role_with_saml::Seal,
};

/// How far a request's time stamp may be from the server's clock.
pub(crate) const WINDOW: SignedDuration = SignedDuration::from_mins(15);

#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) world: World,
    pub(crate) clock: Clock,
    /// Sessions end this early, however long they were asked for.
    pub(crate) session_life: Option<Duration>,
    /// Which keys were switched off or on since the start, whatever the world says.
    pub(crate) switched: Mutex<BTreeMap<String, bool>>,
    /// The OIDC providers' keys.
    pub(crate) keys: Keys,
    /// What SAML providers sign with here.
    pub(crate) seal: Seal,
    pub(crate) sessions: Mutex<Sessions>,
    pub(crate) metadata: Mutex<metadata::Memory>,
    pub(crate) nonces: Mutex<Nonces>,
    pub(crate) objects: Mutex<Objects>,
    pub(crate) stats: Mutex<Stats>,
    pub(crate) faults: Faults,
}

impl Cloud {
    /// That life, or the shorter one that all sessions here have.
    pub(crate) fn at_most(&self, life: Duration) -> Duration {
        self.session_life.map_or(life, |cap| cap.min(life))
    }

    /// Whether a long-term key opens anything now.
    pub(crate) fn is_active(&self, id: &str, key: &LongTermKey) -> bool {
        hold(&self.switched).get(id).copied().unwrap_or(key.active)
    }

    /// Switches a long-term key off or on.
    ///
    /// # Errors
    ///
    /// The order makes no sense; the text says why.
    pub(crate) fn switch(&self, json: &[u8]) -> Result<Value, String> {
        let order: Order = order::read(json)?;
        if !self.world.keys.contains_key(&order.id) {
            return Err(format!("no key {:?} in this world", order.id));
        }
        let active = order.status == Status::Active;
        hold(&self.switched).insert(order.id, active);
        Ok(json!({}))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    id: String,
    status: Status,
}

/// The time of one request: what is true, and what the server believes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) truly: Timestamp,
    /// Differs from the truth under a `wrong-date` fault only.
    pub(crate) by_server: Timestamp,
    pub(crate) offset: SignedDuration,
}

impl Now {
    pub(crate) fn new(truly: Timestamp, offset: SignedDuration) -> Self {
        Self {
            truly,
            by_server: shifted(truly, offset),
            offset,
        }
    }

    /// Whether a time stamp lies in the server's window.
    pub(crate) fn is_near(&self, stamp: Timestamp) -> bool {
        self.by_server.duration_since(stamp).abs() <= WINDOW
    }
}

/// Locks, whatever happened to an earlier holder: no state here is left half-made.
pub(crate) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
