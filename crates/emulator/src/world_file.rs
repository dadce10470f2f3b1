//! A world file, table by table, and the checks that make a world of it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::policy::Policy;
use crate::world::{Bucket, LongTermKey, Principal, Role, User, World, WorldError, parse_duration};

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

pub(crate) fn read(text: &str) -> Result<World, WorldError> {
    let file: File = toml::from_str(text)?;
    if file.account.is_empty() || !file.account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong("account", &file.account, "must be digits"));
    }
    let mut world = World {
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

impl World {
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
