//! What exists in the emulated account: users, their keys, roles, buckets.
//!
//! A world is read once from TOML and never changes; every mistake in it is an
//! error that says where. What happens in the world (sessions, objects) is kept
//! elsewhere.

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use crate::policy::{Policy, PolicyError};
use crate::span::parse_span;

/// The world that `--print-world` shows.
pub const BUILT_IN_WORLD: &str = include_str!("world.toml");

/// One account with everything in it.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) account: String,
    pub(crate) cap_chained_sessions: bool,
    users: Vec<User>,
    keys: Vec<Key>,
    roles: Vec<Role>,
    pub(crate) buckets: Vec<Bucket>,
}

#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) policy: Option<Policy>,
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
    /// None is a key of the account itself.
    pub(crate) user: Option<String>,
    pub(crate) active: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) id: String,
    trusts: Vec<Principal>,
    pub(crate) max_session: Duration,
    pub(crate) external_id: Option<String>,
    pub(crate) policy: Policy,
}

/// Who may assume a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    User(String),
    Role(String),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(crate) region: String,
}

/// Why a text is not a world.
#[derive(Debug, Error)]
pub enum WorldError {
    /// Not TOML, an unknown key, a wrong type: the message draws the place.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// `account` is not 12 to 20 digits.
    #[error("account {0:?} is not a number of 12 to 20 digits")]
    Account(String),
    /// Two things share a name.
    #[error("{kind} {name:?} is there twice")]
    Twice {
        /// `user`, `key`, `role` or `bucket`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A name or an identifier has characters that the service does not allow.
    #[error("{kind} {name:?}: a name has {allowed}")]
    Name {
        /// `user`, `key`, `role` or `bucket`.
        kind: &'static str,
        /// The name.
        name: String,
        /// What would be right.
        allowed: &'static str,
    },
    /// Something is named that is not there.
    #[error("{place}: there is no {what}")]
    NoSuch {
        /// What names it.
        place: String,
        /// What it names.
        what: String,
    },
    /// An entry of `trusts` is neither `user/NAME` nor `role/NAME`.
    #[error("role {role:?} trusts {principal:?}: write \"user/NAME\" or \"role/NAME\"")]
    Principal {
        /// The role.
        role: String,
        /// The entry.
        principal: String,
    },
    /// `max_session` is not a time between one hour and twelve.
    #[error("role {role:?}: max_session {given:?} is not between \"1h\" and \"12h\"")]
    MaxSession {
        /// The role.
        role: String,
        /// What stands there.
        given: String,
    },
    /// A policy that cannot be evaluated.
    #[error("policy of {place}: {reason}")]
    Policy {
        /// Whose policy.
        place: String,
        /// What is wrong.
        reason: PolicyError,
    },
}

impl World {
    /// The world that is used when no other is given.
    pub fn built_in() -> World {
        World::parse(BUILT_IN_WORLD).expect("a test reads the built-in world")
    }

    /// Reads a world from TOML; see [`BUILT_IN_WORLD`] for every key.
    ///
    /// # Errors
    /// A [`WorldError`] that names the place.
    pub fn parse(text: &str) -> Result<World, WorldError> {
        let written: written::World = toml::from_str(text)?;
        written.understood()
    }

    pub(crate) fn key(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }

    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    pub(crate) fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }

    pub(crate) fn bucket(&self, name: &str) -> Option<&Bucket> {
        self.buckets.iter().find(|bucket| bucket.name == name)
    }
}

impl Role {
    pub(crate) fn trusts(&self, principal: &Principal) -> bool {
        self.trusts.contains(principal)
    }
}

/// The world as TOML has it, before anything has been checked.
mod written {
    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct World {
        account: String,
        #[serde(default)]
        cap_chained_sessions: bool,
        #[serde(default)]
        user: Vec<User>,
        #[serde(default)]
        key: Vec<Key>,
        #[serde(default)]
        role: Vec<Role>,
        #[serde(default)]
        bucket: Vec<Bucket>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct User {
        name: String,
        id: Option<String>,
        policy: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Key {
        id: String,
        secret: String,
        user: Option<String>,
        #[serde(default)]
        status: Status,
    }

    #[derive(Default, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Status {
        #[default]
        Active,
        Inactive,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Role {
        name: String,
        id: Option<String>,
        #[serde(default)]
        trusts: Vec<String>,
        max_session: Option<String>,
        external_id: Option<String>,
        policy: String,
    }

    impl World {
        pub(super) fn understood(self) -> Result<super::World, WorldError> {
            let digits = self.account.chars().all(|c| c.is_ascii_digit());
            if !digits || !(12..=20).contains(&self.account.len()) {
                return Err(WorldError::Account(self.account));
            }
            once("user", self.user.iter().map(|user| &user.name))?;
            once("key", self.key.iter().map(|key| &key.id))?;
            once("role", self.role.iter().map(|role| &role.name))?;
            once("bucket", self.bucket.iter().map(|bucket| &bucket.name))?;
            self.bucket.iter().try_for_each(check_bucket)?;

            let users = self.user.into_iter().zip(1..).map(User::understood);
            let users: Vec<_> = users.collect::<Result<_, _>>()?;
            let keys = self.key.into_iter().map(|key| key.understood(&users));
            let keys = keys.collect::<Result<_, _>>()?;
            let names: Vec<String> = self.role.iter().map(|role| role.name.clone()).collect();
            let roles = self.role.into_iter().zip(1..);
            let roles = roles.map(|numbered| Role::understood(numbered, &users, &names));
            Ok(super::World {
                account: self.account,
                cap_chained_sessions: self.cap_chained_sessions,
                roles: roles.collect::<Result<_, _>>()?,
                keys,
                users,
                buckets: self.bucket,
            })
        }
    }

    impl User {
        fn understood((user, n): (User, u64)) -> Result<super::User, WorldError> {
            check_name("user", &user.name)?;
            let place = format!("user {:?}", user.name);
            Ok(super::User {
                policy: user.policy.map(|text| policy(&text, &place)).transpose()?,
                id: user.id.unwrap_or_else(|| format!("20000000000000000{n}")),
                name: user.name,
            })
        }
    }

    impl Key {
        fn understood(self, users: &[super::User]) -> Result<super::Key, WorldError> {
            if self.id.is_empty() || self.id.starts_with("STS.") || !self.id.is_ascii() {
                return Err(WorldError::Name {
                    kind: "key",
                    name: self.id,
                    allowed: "ASCII characters, and does not begin with \"STS.\", \
                              which marks temporary credentials",
                });
            }
            if let Some(name) = &self.user
                && !users.iter().any(|user| user.name == *name)
            {
                return Err(WorldError::NoSuch {
                    place: format!("key {:?}", self.id),
                    what: format!("user {name:?}"),
                });
            }
            Ok(super::Key {
                id: self.id,
                secret: self.secret,
                user: self.user,
                active: matches!(self.status, Status::Active),
            })
        }
    }

    impl Role {
        fn understood(
            (role, n): (Role, u64),
            users: &[super::User],
            roles: &[String],
        ) -> Result<super::Role, WorldError> {
            check_name("role", &role.name)?;
            let given = role.max_session.unwrap_or_else(|| "1h".to_owned());
            let allowed = Duration::from_secs(3600)..=Duration::from_secs(12 * 3600);
            let max_session = parse_span(&given)
                .filter(|span| allowed.contains(span))
                .ok_or_else(|| WorldError::MaxSession {
                    role: role.name.clone(),
                    given,
                })?;
            let trusts = role.trusts.into_iter().map(|text| {
                let (principal, exists) = match text.split_once('/') {
                    Some(("user", name)) => (
                        Principal::User(name.to_owned()),
                        users.iter().any(|user| user.name == name),
                    ),
                    Some(("role", name)) => (
                        Principal::Role(name.to_owned()),
                        roles.iter().any(|role| role == name),
                    ),
                    _ => {
                        return Err(WorldError::Principal {
                            role: role.name.clone(),
                            principal: text,
                        });
                    }
                };
                exists.then_some(principal).ok_or_else(|| WorldError::NoSuch {
                    place: format!("trusts of role {:?}", role.name),
                    what: text,
                })
            });
            Ok(super::Role {
                trusts: trusts.collect::<Result<_, _>>()?,
                max_session,
                external_id: role.external_id,
                policy: policy(&role.policy, &format!("role {:?}", role.name))?,
                id: role.id.unwrap_or_else(|| format!("30000000000000000{n}")),
                name: role.name,
            })
        }
    }

    fn policy(text: &str, place: &str) -> Result<Policy, WorldError> {
        Policy::parse(text).map_err(|reason| WorldError::Policy {
            place: place.to_owned(),
            reason,
        })
    }

    fn once<'a>(
        kind: &'static str,
        names: impl Iterator<Item = &'a String>,
    ) -> Result<(), WorldError> {
        let mut seen = HashSet::new();
        for name in names {
            if !seen.insert(name) {
                let name = name.clone();
                return Err(WorldError::Twice { kind, name });
            }
        }
        Ok(())
    }

    fn check_name(kind: &'static str, name: &str) -> Result<(), WorldError> {
        let fits = |c: char| c.is_alphanumeric() || "._@-".contains(c);
        if (1..=64).contains(&name.chars().count()) && name.chars().all(fits) {
            return Ok(());
        }
        Err(WorldError::Name {
            kind,
            name: name.to_owned(),
            allowed: "1 to 64 letters, digits and . _ @ -",
        })
    }

    fn check_bucket(bucket: &Bucket) -> Result<(), WorldError> {
        let name = &bucket.name;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let ends = name.starts_with('-') || name.ends_with('-');
        if (3..=63).contains(&name.len()) && name.chars().all(fits) && !ends {
            return Ok(());
        }
        Err(WorldError::Name {
            kind: "bucket",
            name: name.clone(),
            allowed: "3 to 63 lower-case letters, digits and inner hyphens",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_world_reads() {
        let world = World::built_in();
        let key = world.key("LTAIEXAMPLEUPLOADER01").unwrap();
        assert_eq!(key.user.as_deref(), Some("uploader"));
        assert!(world.user("uploader").unwrap().policy.is_none());
        let read = world.role("oss-read").unwrap();
        assert!(read.trusts(&Principal::Role("oss-upload".to_owned())));
        assert_eq!(read.max_session, Duration::from_secs(12 * 3600));
        assert_eq!(world.bucket("otherbucket").unwrap().region, "cn-hongkong");
    }

    /// The built-in world with one piece of its text replaced.
    #[track_caller]
    fn check(from: &str, to: &str, expected: &str) {
        assert!(BUILT_IN_WORLD.contains(from), "{from}");
        let error = World::parse(&BUILT_IN_WORLD.replacen(from, to, 1)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn every_mistake_is_named() {
        check("account = \"100000000000001\"", "account = \"1\"", "12 to 20 digits");
        check("status = \"active\"", "status = \"off\"", "unknown variant `off`");
        check("status", "state", "unknown field `state`");
        check("max_session", "max_sesion", "unknown field `max_sesion`");
        check("max_session = \"1h\"", "max_session = \"59m\"", "between \"1h\" and \"12h\"");
        check("max_session = \"12h\"", "max_session = \"13h\"", "between \"1h\" and \"12h\"");
        check("user/uploader", "user/nobody", "there is no user/nobody");
        check("user/uploader", "uploader", "write \"user/NAME\" or \"role/NAME\"");
        check("role/oss-upload", "role/absent", "there is no role/absent");
        check("user = \"uploader\"", "user = \"absent\"", "there is no user \"absent\"");
        check("name = \"oss-read\"", "name = \"oss-upload\"", "role \"oss-upload\" is there twice");
        check("name = \"otherbucket\"", "name = \"Other\"", "bucket \"Other\"");
        check("\"Allow\"", "\"Permit\"", "policy of role \"oss-upload\": Effect");
        check(
            "\"Effect\": \"Allow\",",
            "\"Effect\": \"Allow\", \"Condition\": {},",
            "Condition is not supported",
        );
        check("LTAIEXAMPLE", "STS.EXAMPLE", "marks temporary credentials");
    }
}
