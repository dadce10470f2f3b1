//! The file of an account model: its format, and the checks between its tables and the model.
//!
//! The file is TOML. [`DEFAULT_MODEL`] is such a file, read by the same parser.
//!
//! ```toml
//! account = "100000000000001"      # digits
//! chained_session_cap = false      # optional; at most one hour for a session of a role chain
//!
//! [[user]]
//! name = "uploader"
//! policy = '''…'''                 # optional: the rights of the user's own keys
//! [[user.key]]
//! id = "LTAI…"
//! secret = "…"
//! status = "active"                # optional; or "inactive"
//!
//! [[role]]
//! name = "oss-upload"
//! trusts = ["user/uploader", "role/other", "oidc-provider/demo", "saml-provider/demo", "service/ecs"]
//! oidc_subjects = ["system:*"]     # optional: patterns with `*` and `?`; any subject without it
//! max_session = "1h"               # optional; 1h to 12h
//! external_id = "…"                # optional; `AssumeRole` must send it
//! policy = '''{ "Version": "1", "Statement": […] }'''
//!
//! [[oidc_provider]]
//! name = "demo"
//! issuer = "https://oidc.example.com"
//! client_ids = ["sts.aliyuncs.com"]
//! jwks = '''{ "keys": […] }'''      # optional: the keys of a real issuer; the emulator's without it
//!
//! [[saml_provider]]
//! name = "demo"
//! issuer = "https://saml.example.com/metadata"
//!
//! [instance]                       # optional: the instance of the metadata service
//! role = "worker"                  # trusts service/ecs
//! region = "cn-hongkong"           # optional
//! v1 = false                       # optional; true also answers requests without a token
//! credential_life = "6h"           # optional
//! replaced_before_end = "30m"      # optional; shorter than credential_life
//!
//! [[bucket]]
//! name = "examplebucket"
//! region = "cn-hongkong"
//! ```

use std::{collections::BTreeMap, path::Path, time::Duration};

use crate::{
    account::{
        model::{
            AccountModel, Bucket, Instance, LongLivedKey, OidcProvider, Principal, Role,
            SamlProvider, User,
        },
        policy::{Policy, PolicyError},
        schema::{
            BucketTable, File, InstanceTable, KeyStatus, OidcProviderTable, RoleTable,
            SamlProviderTable, UserTable,
        },
    },
    duration::parse_duration,
    jwt::key_set::KeySet,
};

/// The file of the default account model, as `--print-world` prints it.
pub const DEFAULT_MODEL: &str = include_str!("default.toml");

/// Maximum length of a role's name.
const MAX_ROLE_NAME_CHARS: usize = 64;

/// The range of a role's `max_session`, in seconds.
const MAX_SESSION_SECONDS: std::ops::RangeInclusive<u64> = 3600..=43_200;

/// The reason for which a file is no account model.
#[derive(Debug, thiserror::Error)]
pub enum AccountModelError {
    /// The file is missing or not readable.
    #[error("cannot read the file")]
    File(#[from] std::io::Error),
    /// The text is no TOML, or a key is missing, unknown or of another type. The text has the
    /// line.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A name or an AccessKey id is defined twice.
    #[error("{kind} {name:?} is defined twice")]
    Duplicate {
        /// `user`, `key`, `role`, `bucket` or the like.
        kind: &'static str,
        /// The name or the id.
        name: String,
    },
    /// A value is outside its range.
    #[error("{kind} {name:?}: {problem}")]
    Value {
        /// `account`, `user`, `key`, `role`, `bucket` or the like.
        kind: &'static str,
        /// The name of the table that has the value.
        name: String,
        /// The problem with the value.
        problem: String,
    },
    /// RAM, or this emulator, would refuse the policy.
    #[error("the policy of {kind} {name:?}")]
    Policy {
        /// `user` or `role`.
        kind: &'static str,
        /// The name of the user or role.
        name: String,
        /// The problem with the policy.
        #[source]
        problem: PolicyError,
    },
}

/// Parses the text of an account model.
///
/// # Errors
///
/// The first value that is no TOML, unknown, defined twice, outside its range, or a name that is
/// not defined.
pub fn parse(text: &str) -> Result<AccountModel, AccountModelError> {
    let file: File = toml::from_str(text)?;
    if file.account.is_empty() || !file.account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid("account", &file.account, "must be digits"));
    }
    let mut model = AccountModel {
        id: file.account,
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
        add_user(&mut model, index, table)?;
    }
    for (index, table) in file.role.into_iter().enumerate() {
        add_role(&mut model, index, table)?;
    }
    for table in file.oidc_provider {
        add_oidc_provider(&mut model, table)?;
    }
    for table in file.saml_provider {
        add_saml_provider(&mut model, table)?;
    }
    for table in file.bucket {
        add_bucket(&mut model, table)?;
    }
    check_trusts(&model)?;
    if let Some(table) = file.instance {
        model.instance = Some(instance(&model, table)?);
    }
    Ok(model)
}

/// Reads the file of an account model.
///
/// # Errors
///
/// The file is not readable, or [`parse`] refuses its text.
pub fn read(path: &Path) -> Result<AccountModel, AccountModelError> {
    parse(&std::fs::read_to_string(path)?)
}

/// Returns the default account model.
///
/// # Panics
///
/// Never: a test parses [`DEFAULT_MODEL`].
#[must_use]
pub fn default_model() -> AccountModel {
    parse(DEFAULT_MODEL).expect("a test parses the default account model")
}

fn add_user(
    model: &mut AccountModel,
    index: usize,
    table: UserTable,
) -> Result<(), AccountModelError> {
    for key in table.key {
        if key.id.starts_with("STS.") || key.id.is_empty() || key.secret.is_empty() {
            let problem = "is no long-lived key: it needs an id, not one of STS, and a secret";
            return Err(invalid("key", &key.id, problem));
        }
        let long_lived = LongLivedKey {
            user: table.name.clone(),
            secret: key.secret,
            active: key.status == KeyStatus::Active,
        };
        insert(&mut model.keys, "key", key.id, long_lived)?;
    }
    let policy = table
        .policy
        .map(|text| parse_policy("user", &table.name, &text))
        .transpose()?;
    let user = User {
        id: format!("2{index:017}"),
        policy,
    };
    insert(&mut model.users, "user", table.name, user)
}

fn add_role(
    model: &mut AccountModel,
    index: usize,
    table: RoleTable,
) -> Result<(), AccountModelError> {
    if table.name.is_empty()
        || table.name.chars().count() > MAX_ROLE_NAME_CHARS
        || table.name.contains('/')
    {
        let problem = "must be a role name of 1 to 64 characters without /";
        return Err(invalid("role", &table.name, problem));
    }
    let max_session = parse_duration(table.max_session.as_deref().unwrap_or("1h"))
        .filter(|max| MAX_SESSION_SECONDS.contains(&max.as_secs()))
        .ok_or_else(|| invalid("role", &table.name, "max_session must be 1h to 12h"))?;
    let trusts = table
        .trusts
        .iter()
        .map(|text| parse_principal(&table.name, text))
        .collect::<Result<_, _>>()?;
    let role = Role {
        id: format!("3{index:017}"),
        trusts,
        oidc_subjects: table.oidc_subjects,
        max_session,
        external_id: table.external_id,
        policy: parse_policy("role", &table.name, &table.policy)?,
    };
    insert(&mut model.roles, "role", table.name, role)
}

fn add_oidc_provider(
    model: &mut AccountModel,
    table: OidcProviderTable,
) -> Result<(), AccountModelError> {
    const KIND: &str = "oidc_provider";
    check_provider(KIND, &table.name, &table.issuer)?;
    if table.client_ids.is_empty() {
        return Err(invalid(KIND, &table.name, "has no client_ids"));
    }
    let keys = table.jwks.as_deref().map(KeySet::parse).transpose();
    let keys = keys.map_err(|error| invalid(KIND, &table.name, &error.to_string()))?;
    let provider = OidcProvider {
        issuer: table.issuer,
        client_ids: table.client_ids,
        keys,
    };
    insert(&mut model.oidc_providers, KIND, table.name, provider)
}

fn add_saml_provider(
    model: &mut AccountModel,
    table: SamlProviderTable,
) -> Result<(), AccountModelError> {
    const KIND: &str = "saml_provider";
    check_provider(KIND, &table.name, &table.issuer)?;
    let provider = SamlProvider {
        issuer: table.issuer,
    };
    insert(&mut model.saml_providers, KIND, table.name, provider)
}

fn add_bucket(model: &mut AccountModel, table: BucketTable) -> Result<(), AccountModelError> {
    if table.name.is_empty() || table.name.contains(['/', '.', '%']) {
        let problem = "must be a bucket name without / . and %";
        return Err(invalid("bucket", &table.name, problem));
    }
    let bucket = Bucket {
        region: table.region,
    };
    insert(&mut model.buckets, "bucket", table.name, bucket)
}

fn instance(model: &AccountModel, table: InstanceTable) -> Result<Instance, AccountModelError> {
    let error = |problem: &str| invalid("instance", &table.role, problem);
    let ecs = Principal::Service("ecs".to_owned());
    match model.roles.get(&table.role) {
        None => return Err(error("no role has this name")),
        Some(role) if !role.trusts.contains(&ecs) => {
            return Err(error("the role does not trust service/ecs"));
        }
        Some(_) => {}
    }
    let positive = |key: &str, text: Option<&str>, default: &str| -> Result<Duration, _> {
        let text = text.unwrap_or(default);
        parse_duration(text)
            .filter(|duration| duration.as_secs() > 0)
            .ok_or_else(|| error(&format!("{key} {text:?} is no positive duration like 6h")))
    };
    let credential_lifetime = positive("credential_life", table.credential_life.as_deref(), "6h")?;
    let replaced_before_end = positive(
        "replaced_before_end",
        table.replaced_before_end.as_deref(),
        "30m",
    )?;
    if replaced_before_end >= credential_lifetime {
        return Err(error(
            "replaced_before_end must be shorter than credential_life",
        ));
    }
    Ok(Instance {
        role: table.role,
        region: table.region.unwrap_or_else(|| "cn-hongkong".to_owned()),
        v1: table.v1,
        credential_lifetime,
        replaced_before_end,
    })
}

fn check_trusts(model: &AccountModel) -> Result<(), AccountModelError> {
    for (name, role) in &model.roles {
        for principal in &role.trusts {
            let (is_defined, trusted) = match principal {
                Principal::User(user) => (model.users.contains_key(user), user),
                Principal::Role(role) => (model.roles.contains_key(role), role),
                Principal::OidcProvider(it) => (model.oidc_providers.contains_key(it), it),
                Principal::SamlProvider(it) => (model.saml_providers.contains_key(it), it),
                Principal::Service(service) => (service == "ecs", service),
            };
            if !is_defined {
                let problem = format!("trusts {trusted:?}, which is not defined");
                return Err(invalid("role", name, &problem));
            }
        }
    }
    Ok(())
}

/// Parses an entry of a role's `trusts`.
fn parse_principal(role: &str, text: &str) -> Result<Principal, AccountModelError> {
    let parts = text.split_once('/');
    match parts.map(|(kind, name)| (kind, name.to_owned())) {
        Some(("user", name)) => Ok(Principal::User(name)),
        Some(("role", name)) => Ok(Principal::Role(name)),
        Some(("oidc-provider", name)) => Ok(Principal::OidcProvider(name)),
        Some(("saml-provider", name)) => Ok(Principal::SamlProvider(name)),
        Some(("service", name)) => Ok(Principal::Service(name)),
        _ => Err(invalid(
            "role",
            role,
            &format!(
                "trusts {text:?}, which is none of user/NAME, role/NAME, oidc-provider/NAME, \
                 saml-provider/NAME and service/ecs"
            ),
        )),
    }
}

fn check_provider(kind: &'static str, name: &str, issuer: &str) -> Result<(), AccountModelError> {
    let is_excluded = |c: char| c == '/' || c == ':' || c == ',' || c.is_whitespace();
    if name.is_empty() || name.contains(is_excluded) {
        let problem = "must be a provider name without / : , and spaces";
        return Err(invalid(kind, name, problem));
    }
    if issuer.is_empty() {
        return Err(invalid(kind, name, "has no issuer"));
    }
    Ok(())
}

fn parse_policy(kind: &'static str, name: &str, text: &str) -> Result<Policy, AccountModelError> {
    Policy::parse(text).map_err(|problem| AccountModelError::Policy {
        kind,
        name: name.to_owned(),
        problem,
    })
}

fn insert<T>(
    map: &mut BTreeMap<String, T>,
    kind: &'static str,
    name: String,
    value: T,
) -> Result<(), AccountModelError> {
    match map.insert(name.clone(), value) {
        Some(_) => Err(AccountModelError::Duplicate { kind, name }),
        None => Ok(()),
    }
}

fn invalid(kind: &'static str, name: &str, problem: &str) -> AccountModelError {
    AccountModelError::Value {
        kind,
        name: name.to_owned(),
        problem: problem.to_owned(),
    }
}
