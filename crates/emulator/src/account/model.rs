//! Who and what exists in the emulated cloud: users, keys, roles, identity
//! providers, buckets, and the instance that runs there.
//!
//! A world is a TOML file; [`BUILT_IN`] is one, read by the same parser.
//!
//! ```toml
//! account = "100000000000001"      # digits
//! chained_session_cap = false      # optional; one hour at most for role-from-role sessions
//!
//! [[user]]
//! name = "uploader"
//! policy = '''…'''                 # optional: what the user's own keys may do
//! [[user.key]]
//! id = "LTAI…"
//! secret = "…"
//! status = "active"                # optional; or "inactive"
//!
//! [[role]]
//! name = "oss-upload"
//! trusts = ["user/uploader", "role/other", "oidc-provider/demo", "saml-provider/demo", "service/ecs"]
//! oidc_subjects = ["system:*"]     # optional: whom of its OIDC providers it trusts; `*`, `?`
//! max_session = "1h"               # optional; 1h to 12h
//! external_id = "…"                # optional; callers must send it
//! policy = '''{ "Version": "1", "Statement": […] }'''
//!
//! [[oidc_provider]]
//! name = "demo"
//! issuer = "https://oidc.example.com"
//! client_ids = ["sts.aliyuncs.com"]
//!
//! [[saml_provider]]
//! name = "demo"
//! issuer = "https://saml.example.com/metadata"
//!
//! [instance]                       # optional: whose metadata is served
//! role = "worker"                  # trusts service/ecs
//! region = "cn-hongkong"           # optional
//! v1 = false                       # optional; true answers without a token, too
//! credential_life = "6h"           # optional
//! replaced_before_end = "30m"      # optional; shorter than the life
//!
//! [[bucket]]
//! name = "examplebucket"
//! region = "cn-hongkong"
//! ```

use std::{collections::BTreeMap, path::Path, time::Duration};

use crate::{
    account::{
        load as world_file,
        policy::{Policy, PolicyError},
    },
    imds::service::Instance,
};

/// The built-in world, as `--print-world` prints it.
pub const BUILT_IN: &str = include_str!("default.toml");

/// A world that makes sense: every name it refers to exists.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) account: String,
    pub(crate) chained_session_cap: bool,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) keys: BTreeMap<String, LongTermKey>,
    pub(crate) roles: BTreeMap<String, Role>,
    pub(crate) oidc_providers: BTreeMap<String, OidcProvider>,
    pub(crate) saml_providers: BTreeMap<String, SamlProvider>,
    pub(crate) instance: Option<Instance>,
    pub(crate) buckets: BTreeMap<String, Bucket>,
}

#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) policy: Option<Policy>,
}

#[derive(Debug, Clone)]
pub(crate) struct LongTermKey {
    pub(crate) user: String,
    pub(crate) secret: String,
    pub(crate) active: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Role {
    pub(crate) id: String,
    pub(crate) trusts: Vec<Principal>,
    /// Patterns; none is everybody.
    pub(crate) oidc_subjects: Vec<String>,
    pub(crate) max_session: Duration,
    pub(crate) external_id: Option<String>,
    pub(crate) policy: Policy,
}

#[derive(Debug, Clone)]
pub(crate) struct OidcProvider {
    pub(crate) issuer: String,
    pub(crate) client_ids: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct SamlProvider {
    pub(crate) issuer: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    pub(crate) region: String,
}

/// Someone a role may trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    User(String),
    Role(String),
    OidcProvider(String),
    SamlProvider(String),
    /// Of the cloud itself: `ecs`, for its instances.
    Service(String),
}

/// Why a world cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The file is not there, or not for us to read.
    #[error("cannot read it")]
    File(#[from] std::io::Error),
    /// Not TOML, or a key that is missing, unknown or of another type; the text has the line.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// Something is there twice.
    #[error("{what} {name:?} is there twice")]
    Twice {
        /// `user`, `key`, `role`, `bucket` or the like.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A value out of its range.
    #[error("{what} {name:?}: {problem}")]
    Value {
        /// `account`, `user`, `key`, `role`, `bucket` or the like.
        what: &'static str,
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A policy that RAM, or this emulator, would not take.
    #[error("the policy of {what} {name:?}")]
    Policy {
        /// `user` or `role`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What is wrong with it.
        #[source]
        problem: PolicyError,
    },
}

impl World {
    /// Reads a world file's text.
    ///
    /// # Errors
    ///
    /// The first thing in it that is not TOML, unknown, twice there, out of its
    /// range, or refers to nothing.
    pub fn parse(text: &str) -> Result<Self, WorldError> {
        world_file::read(text)
    }

    /// Reads a world file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is as [`World::parse`] refuses it.
    pub fn read(path: &Path) -> Result<Self, WorldError> {
        Self::parse(&std::fs::read_to_string(path)?)
    }

    /// The built-in world.
    ///
    /// # Panics
    ///
    /// Never: a test reads it.
    #[must_use]
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the built-in world is a good one")
    }
}

/// Reads `60s`, `15m`, `1h30m`; never negative.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let duration: jiff::SignedDuration = text.parse().ok()?;
    Duration::try_from(duration).ok()
}
