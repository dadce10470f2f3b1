//! The types of the account model.

use std::{collections::BTreeMap, time::Duration};

use crate::{account::policy::Policy, jwt::key_set::KeySet};

/// The users, roles, providers and buckets of one account. Every name that they refer to exists.
#[derive(Debug, Clone)]
pub struct AccountModel {
    /// The account's number.
    pub(crate) id: String,
    /// `true` limits a session of a role chain to one hour.
    pub(crate) chained_session_cap: bool,
    pub(crate) users: BTreeMap<String, User>,
    /// The long-lived keys, by AccessKey id.
    pub(crate) keys: BTreeMap<String, LongLivedKey>,
    pub(crate) roles: BTreeMap<String, Role>,
    pub(crate) oidc_providers: BTreeMap<String, OidcProvider>,
    pub(crate) saml_providers: BTreeMap<String, SamlProvider>,
    pub(crate) instance: Option<Instance>,
    pub(crate) buckets: BTreeMap<String, Bucket>,
}

impl AccountModel {
    /// Returns the names of the buckets, each with its region.
    pub(crate) fn bucket_regions(&self) -> impl Iterator<Item = (&str, &str)> {
        let buckets = self.buckets.iter();
        buckets.map(|(name, bucket)| (name.as_str(), bucket.region.as_str()))
    }
}

/// A RAM user.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) policy: Option<Policy>,
}

/// An AccessKey of a RAM user.
#[derive(Debug, Clone)]
pub(crate) struct LongLivedKey {
    pub(crate) user: String,
    pub(crate) secret: String,
    pub(crate) active: bool,
}

/// A RAM role.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    pub(crate) id: String,
    pub(crate) trusts: Vec<Principal>,
    /// Patterns for the subject of an OIDC token. An empty list accepts any subject.
    pub(crate) oidc_subjects: Vec<String>,
    pub(crate) max_session: Duration,
    pub(crate) external_id: Option<String>,
    pub(crate) policy: Policy,
}

/// An OIDC identity provider.
#[derive(Debug, Clone)]
pub(crate) struct OidcProvider {
    pub(crate) issuer: String,
    pub(crate) client_ids: Vec<String>,
    /// The keys of a real issuer; `None` for the keys of the emulator.
    pub(crate) keys: Option<KeySet>,
}

/// A SAML identity provider.
#[derive(Debug, Clone)]
pub(crate) struct SamlProvider {
    pub(crate) issuer: String,
}

/// The instance of the metadata service.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) role: String,
    pub(crate) region: String,
    /// `true` also answers requests without a token.
    pub(crate) v1: bool,
    pub(crate) credential_lifetime: Duration,
    /// Remaining lifetime at which the credentials are replaced.
    pub(crate) replaced_before_end: Duration,
}

/// An OSS bucket.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    pub(crate) region: String,
}

/// A principal in the trust policy of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    User(String),
    Role(String),
    OidcProvider(String),
    SamlProvider(String),
    /// A cloud service; only `ecs`, for instances.
    Service(String),
}
