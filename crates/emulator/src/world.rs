//! Who and what exists in the emulated cloud: users, keys, roles, buckets.
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
//! trusts = ["user/uploader", "role/other"]
//! max_session = "1h"               # optional; 1h to 12h
//! external_id = "…"                # optional; callers must send it
//! policy = '''{ "Version": "1", "Statement": […] }'''
//!
//! [[bucket]]
//! name = "examplebucket"
//! region = "cn-hongkong"
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::policy::{Policy, PolicyError};

/// The built-in world, as `--print-world` prints it.
pub const BUILT_IN: &str = include_str!("world.toml");

/// A world that makes sense: every name it refers to exists.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) account: String,
    pub(crate) chained_session_cap: bool,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) keys: BTreeMap<String, LongTermKey>,
    pub(crate) roles: BTreeMap<String, Role>,
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
    pub(crate) max_session: Duration,
    pub(crate) external_id: Option<String>,
    pub(crate) policy: Policy,
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
}

/// Why a world cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// Not TOML, or a key that is missing, unknown or of another type; the text has the line.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// Something is there twice.
    #[error("{what} {name:?} is there twice")]
    Twice {
        /// `user`, `key`, `role` or `bucket`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A value out of its range.
    #[error("{what} {name:?}: {problem}")]
    Value {
        /// `account`, `user`, `key`, `role` or `bucket`.
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    account: String,
    #[serde(default)]
    chained_session_cap: bool,
    #[serde(default)]
    user: Vec<UserTable>,
    #[serde(default)]
    role: Vec<RoleTable>,
    #[serde(default)]
    bucket: Vec<BucketTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserTable {
    name: String,
    policy: Option<String>,
    #[serde(default)]
    key: Vec<KeyTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyTable {
    id: String,
    secret: String,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Status {
    #[default]
    Active,
    Inactive,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleTable {
    name: String,
    trusts: Vec<String>,
    max_session: Option<String>,
    external_id: Option<String>,
    policy: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BucketTable {
    name: String,
    region: String,
}

impl World {
    /// Reads a world file's text.
    ///
    /// # Errors
    ///
    /// The first thing in it that is not TOML, unknown, twice there, out of its
    /// range, or refers to nothing.
    pub fn parse(text: &str) -> Result<Self, WorldError> {
        let file: File = toml::from_str(text)?;
        if file.account.is_empty() || !file.account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong("account", &file.account, "must be digits"));
        }
        let mut world = Self {
            account: file.account,
            chained_session_cap: file.chained_session_cap,
            users: BTreeMap::new(),
            keys: BTreeMap::new(),
            roles: BTreeMap::new(),
            buckets: BTreeMap::new(),
        };
        for (index, table) in file.user.into_iter().enumerate() {
            world.add_user(index, table)?;
        }
        for (index, table) in file.role.into_iter().enumerate() {
            world.add_role(index, table)?;
        }
        for table in file.bucket {
            let bucket = Bucket {
                region: table.region,
            };
            if table.name.is_empty() || table.name.contains(['/', '.', '%']) {
                return Err(wrong("bucket", &table.name, "is no bucket name"));
            }
            if world.buckets.insert(table.name.clone(), bucket).is_some() {
                return Err(twice("bucket", table.name));
            }
        }
        world.check_trusts()?;
        Ok(world)
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

    fn add_user(&mut self, index: usize, table: UserTable) -> Result<(), WorldError> {
        for key in table.key {
            if key.id.starts_with("STS.") || key.id.is_empty() || key.secret.is_empty() {
                return Err(wrong("key", &key.id, "is no long-term key"));
            }
            let long_term = LongTermKey {
                user: table.name.clone(),
                secret: key.secret,
                active: key.status == Status::Active,
            };
            if self.keys.insert(key.id.clone(), long_term).is_some() {
                return Err(twice("key", key.id));
            }
        }
        let policy = table
            .policy
            .map(|text| read_policy("user", &table.name, &text))
            .transpose()?;
        let user = User {
            id: format!("2{index:017}"),
            policy,
        };
        match self.users.insert(table.name.clone(), user) {
            Some(_) => Err(twice("user", table.name)),
            None => Ok(()),
        }
    }

    fn add_role(&mut self, index: usize, table: RoleTable) -> Result<(), WorldError> {
        if table.name.is_empty() || table.name.chars().count() > 64 || table.name.contains('/') {
            return Err(wrong("role", &table.name, "is no role name"));
        }
        let max_session = parse_duration(table.max_session.as_deref().unwrap_or("1h"))
            .filter(|max| (3600..=43200).contains(&max.as_secs()))
            .ok_or_else(|| wrong("role", &table.name, "max_session must be 1h to 12h"))?;
        let trusts = table
            .trusts
            .iter()
            .map(|text| match text.split_once('/') {
                Some(("user", name)) => Ok(Principal::User(name.to_owned())),
                Some(("role", name)) => Ok(Principal::Role(name.to_owned())),
                _ => Err(wrong(
                    "role",
                    &table.name,
                    &format!("trusts {text:?}, which is neither user/NAME nor role/NAME"),
                )),
            })
            .collect::<Result<_, _>>()?;
        let role = Role {
            id: format!("3{index:017}"),
            trusts,
            max_session,
            external_id: table.external_id,
            policy: read_policy("role", &table.name, &table.policy)?,
        };
        match self.roles.insert(table.name.clone(), role) {
            Some(_) => Err(twice("role", table.name)),
            None => Ok(()),
        }
    }

    fn check_trusts(&self) -> Result<(), WorldError> {
        for (name, role) in &self.roles {
            for principal in &role.trusts {
                let (exists, who) = match principal {
                    Principal::User(user) => (self.users.contains_key(user), user),
                    Principal::Role(role) => (self.roles.contains_key(role), role),
                };
                if !exists {
                    return Err(wrong(
                        "role",
                        name,
                        &format!("trusts {who:?}, which is nobody here"),
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Reads `60s`, `15m`, `1h30m`; never negative.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let duration: jiff::SignedDuration = text.parse().ok()?;
    Duration::try_from(duration).ok()
}

fn read_policy(what: &'static str, name: &str, text: &str) -> Result<Policy, WorldError> {
    Policy::parse(text).map_err(|problem| WorldError::Policy {
        what,
        name: name.to_owned(),
        problem,
    })
}

fn wrong(what: &'static str, name: &str, problem: &str) -> WorldError {
    WorldError::Value {
        what,
        name: name.to_owned(),
        problem: problem.to_owned(),
    }
}

fn twice(what: &'static str, name: String) -> WorldError {
    WorldError::Twice { what, name }
}
