//! The checks that make a world of a world file.

use std::collections::BTreeMap;

use crate::{
    account::{
        model::{
            Bucket, LongTermKey, OidcProvider, Principal, Role, SamlProvider, User, World,
            WorldError, parse_duration,
        },
        policy::Policy,
        schema::{
            File, InstanceTable, OidcProviderTable, RoleTable, SamlProviderTable, Status, UserTable,
        },
    },
    imds::service::Instance,
};

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
        oidc_providers: BTreeMap::new(),
        saml_providers: BTreeMap::new(),
        instance: None,
        buckets: BTreeMap::new(),
    };
    for (index, table) in file.user.into_iter().enumerate() {
        world.add_user(index, table)?;
    }
    for (index, table) in file.role.into_iter().enumerate() {
        world.add_role(index, table)?;
    }
    for table in file.oidc_provider {
        world.add_oidc_provider(table)?;
    }
    for table in file.saml_provider {
        world.add_saml_provider(table)?;
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
    if let Some(table) = file.instance {
        world.instance = Some(world.read_instance(table)?);
    }
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
            .map(|text| read_principal(&table.name, text))
            .collect::<Result<_, _>>()?;
        let role = Role {
            id: format!("3{index:017}"),
            trusts,
            oidc_subjects: table.oidc_subjects,
            max_session,
            external_id: table.external_id,
            policy: read_policy("role", &table.name, &table.policy)?,
        };
        match self.roles.insert(table.name.clone(), role) {
            Some(_) => Err(twice("role", table.name)),
            None => Ok(()),
        }
    }

    fn add_oidc_provider(&mut self, table: OidcProviderTable) -> Result<(), WorldError> {
        const WHAT: &str = "oidc_provider";
        check_provider(WHAT, &table.name, &table.issuer)?;
        if table.client_ids.is_empty() {
            return Err(wrong(WHAT, &table.name, "has no client_ids"));
        }
        let provider = OidcProvider {
            issuer: table.issuer,
            client_ids: table.client_ids,
        };
        match self.oidc_providers.insert(table.name.clone(), provider) {
            Some(_) => Err(twice(WHAT, table.name)),
            None => Ok(()),
        }
    }

    fn add_saml_provider(&mut self, table: SamlProviderTable) -> Result<(), WorldError> {
        const WHAT: &str = "saml_provider";
        check_provider(WHAT, &table.name, &table.issuer)?;
        let provider = SamlProvider {
            issuer: table.issuer,
        };
        match self.saml_providers.insert(table.name.clone(), provider) {
            Some(_) => Err(twice(WHAT, table.name)),
            None => Ok(()),
        }
    }

    fn read_instance(&self, table: InstanceTable) -> Result<Instance, WorldError> {
        const WHAT: &str = "instance";
        let service = Principal::Service("ecs".to_owned());
        match self.roles.get(&table.role) {
            None => return Err(wrong(WHAT, &table.role, "there is no such role")),
            Some(role) if !role.trusts.contains(&service) => {
                return Err(wrong(
                    WHAT,
                    &table.role,
                    "the role does not trust service/ecs",
                ));
            }
            Some(_) => {}
        }
        let time = |text: Option<&str>, default| {
            parse_duration(text.unwrap_or(default))
                .filter(|time| time.as_secs() > 0)
                .ok_or_else(|| wrong(WHAT, &table.role, "a time there is not one like 6h"))
        };
        let credential_life = time(table.credential_life.as_deref(), "6h")?;
        let replaced_before_end = time(table.replaced_before_end.as_deref(), "30m")?;
        if replaced_before_end >= credential_life {
            let problem = "replaced_before_end must be shorter than credential_life";
            return Err(wrong(WHAT, &table.role, problem));
        }
        Ok(Instance {
            role: table.role,
            region: table.region.unwrap_or_else(|| "cn-hongkong".to_owned()),
            v1: table.v1,
            credential_life,
            replaced_before_end,
        })
    }

    fn check_trusts(&self) -> Result<(), WorldError> {
        for (name, role) in &self.roles {
            for principal in &role.trusts {
                let (exists, who) = match principal {
                    Principal::User(user) => (self.users.contains_key(user), user),
                    Principal::Role(role) => (self.roles.contains_key(role), role),
                    Principal::OidcProvider(it) => (self.oidc_providers.contains_key(it), it),
                    Principal::SamlProvider(it) => (self.saml_providers.contains_key(it), it),
                    Principal::Service(service) => (service == "ecs", service),
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

/// Reads whom a role trusts.
fn read_principal(role: &str, text: &str) -> Result<Principal, WorldError> {
    let named = text.split_once('/');
    match named.map(|(kind, name)| (kind, name.to_owned())) {
        Some(("user", name)) => Ok(Principal::User(name)),
        Some(("role", name)) => Ok(Principal::Role(name)),
        Some(("oidc-provider", name)) => Ok(Principal::OidcProvider(name)),
        Some(("saml-provider", name)) => Ok(Principal::SamlProvider(name)),
        Some(("service", name)) => Ok(Principal::Service(name)),
        _ => Err(wrong(
            "role",
            role,
            &format!(
                "trusts {text:?}, which is none of user/NAME, role/NAME, oidc-provider/NAME, \
                 saml-provider/NAME and service/ecs"
            ),
        )),
    }
}

fn check_provider(what: &'static str, name: &str, issuer: &str) -> Result<(), WorldError> {
    let odd = |c: char| c == '/' || c == ':' || c == ',' || c.is_whitespace();
    if name.is_empty() || name.contains(odd) {
        return Err(wrong(what, name, "is no provider name"));
    }
    if issuer.is_empty() {
        return Err(wrong(what, name, "has no issuer"));
    }
    Ok(())
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
