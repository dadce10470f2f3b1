//! Converts one profile by its mode, or gives the reason why it is skipped.

use stsd_client::SecretText;

use super::{
    command,
    mode::Mode,
    parsed_profile::{SkipReason, ThirdPartyProfile},
    table::{Entry, Value},
    uri, valid,
};

/// A converted profile.
pub(super) struct ConvertedProfile {
    pub(super) identity: Identity,
    /// The role that programs get; `None` for an AccessKey, which stsd never serves.
    pub(super) role: Option<Role>,
    /// Remarks for the report.
    pub(super) remarks: Vec<String>,
}

/// The identity that signs the call to STS.
#[derive(PartialEq, Eq)]
pub(super) enum Identity {
    Key {
        id: String,
        secret: SecretText,
    },
    Instance {
        role_name: Option<String>,
    },
    Process(Vec<String>),
    Uri(SecretText),
    Oidc(Vec<Entry>),
    /// The name of another profile.
    Chain(String),
}

/// The entries of the role; without entries, credentials are passed through.
pub(super) struct Role(pub(super) Vec<Entry>);

impl ConvertedProfile {
    /// Returns `true` if the profile assumes no role: an AccessKey, or credentials that are
    /// passed through.
    pub(super) fn assumes_no_role(&self) -> bool {
        let oidc = matches!(self.identity, Identity::Oidc(_));
        !oidc && self.role.as_ref().is_none_or(|it| it.0.is_empty())
    }
}

impl Identity {
    /// Returns the suffix of the name of its source.
    pub(super) fn name_suffix(&self) -> &'static str {
        match self {
            Self::Key { .. } => "user",
            Self::Instance { .. } => "instance",
            Self::Process(_) => "process",
            Self::Uri(_) => "uri",
            Self::Oidc(_) => "oidc",
            Self::Chain(_) => "chain",
        }
    }
}

/// Converts a profile of any mode.
pub(super) fn convert(profile: &ThirdPartyProfile) -> Result<ConvertedProfile, SkipReason> {
    let refuse = |problem: &str| Err(problem.to_owned());
    if profile.text("enable")?.is_some_and(|it| it == "false") {
        return refuse("it is switched off there (enable = false)");
    }
    let mode = profile.mode()?;
    if let Some(advice) = mode.advice() {
        return refuse(advice);
    }
    let mut converted = match mode {
        Mode::RamRoleArn => with_role(key(profile)?, role(profile)?),
        Mode::EcsRamRole => with_role(instance(profile)?, Role(Vec::new())),
        Mode::RamRoleArnWithRoleName => with_role(instance(profile)?, role(profile)?),
        Mode::ChainableRamRoleArn => {
            let other = profile.needed("source_profile")?;
            with_role(Identity::Chain(other), role(profile)?)
        }
        Mode::External => external(profile)?,
        Mode::CredentialsUri => uri::convert(profile)?,
        Mode::Oidc => oidc(profile)?,
        // All other modes have an advice.
        _ => ConvertedProfile {
            identity: key(profile)?,
            role: None,
            remarks: Vec::new(),
        },
    };
    if profile.inferred_mode().is_some() {
        converted.remarks.push(format!(
            "it has no mode: by its keys, aliyun-cli reads it as {}",
            mode.name()
        ));
    }
    if profile.seconds("expired_seconds")? == Some(900) && converted.role.is_some() {
        converted.remarks.push(
            "it asks for sessions of 15m, the default that aliyun-cli writes: programs that \
             refresh 15 minutes ahead ask again at each call; without the line `duration` a \
             session lasts 1h"
                .to_owned(),
        );
    }
    Ok(converted)
}

pub(super) fn with_role(identity: Identity, role: Role) -> ConvertedProfile {
    ConvertedProfile {
        identity,
        role: Some(role),
        remarks: Vec::new(),
    }
}

fn external(profile: &ThirdPartyProfile) -> Result<ConvertedProfile, SkipReason> {
    let line = profile.needed("process_command")?;
    let words = command::words(&line)?;
    let is_bare = words.len() == 1;
    let mut converted = with_role(Identity::Process(words), Role(Vec::new()));
    if !is_bare {
        converted.remarks.push(
            "a secret among its arguments would stand in the configuration, whatever --keeper \
             says, and be visible to all users while it runs (ps): have the command read it from \
             a file"
                .to_owned(),
        );
    }
    Ok(converted)
}

fn key(profile: &ThirdPartyProfile) -> Result<Identity, SkipReason> {
    let id = profile.needed("access_key_id")?.trim().to_owned();
    valid::access_key_id(&id)?;
    let secret = profile.secret("access_key_secret")?;
    let secret = secret.ok_or("it has no access_key_secret, which its mode needs")?;
    let secret = SecretText::from(secret.expose().trim().to_owned());
    valid::access_key_secret(secret.expose())?;
    Ok(Identity::Key { id, secret })
}

fn instance(profile: &ThirdPartyProfile) -> Result<Identity, SkipReason> {
    let role_name = profile.text("ram_role_name")?;
    let role_name = role_name.map(|it| it.trim().to_owned());
    role_name.as_deref().map_or(Ok(()), valid::role_name)?;
    Ok(Identity::Instance { role_name })
}

/// Returns the entries of the role, which this mode requires.
fn role(profile: &ThirdPartyProfile) -> Result<Role, SkipReason> {
    profile.needed("ram_role_arn")?;
    role_entries(profile)
}

fn role_entries(profile: &ThirdPartyProfile) -> Result<Role, SkipReason> {
    let mut entries = Vec::new();
    let plain = [
        (
            "ram_role_arn",
            "role_arn",
            valid::role_arn as fn(&str) -> Result<(), SkipReason>,
        ),
        ("ram_session_name", "role_session_name", valid::session_name),
    ];
    for (theirs, ours, check) in plain {
        if let Some(text) = profile.text(theirs)? {
            check(text.trim())?;
            entries.push(Entry::new(ours, text.trim()));
        }
    }
    if let Some(seconds) = profile.seconds("expired_seconds")? {
        entries.push(Entry::new("duration", valid::duration(seconds)?));
    }
    if let Some(text) = profile.text("policy")? {
        valid::policy(&text)?;
        entries.push(Entry::new("policy", text.trim()));
    }
    if let Some(text) = profile.text("external_id")? {
        valid::external_id(text.trim())?;
        let value = Value::Private(text.trim().to_owned());
        let key = "external_id";
        entries.push(Entry { key, value });
    }
    Ok(Role(entries))
}

fn oidc(profile: &ThirdPartyProfile) -> Result<ConvertedProfile, SkipReason> {
    let mut entries = Vec::new();
    let mut missing = Vec::new();
    match profile.text("oidc_provider_arn")? {
        Some(arn) => {
            valid::provider_arn(arn.trim())?;
            entries.push(Entry::new("provider_arn", arn.trim()));
        }
        None => missing.push("ALIBABA_CLOUD_OIDC_PROVIDER_ARN"),
    }
    match profile.text("oidc_token_file")? {
        Some(path) => {
            valid::path(&path, "oidc_token_file")?;
            entries.push(Entry::new("token_file", path));
        }
        None => missing.push("ALIBABA_CLOUD_OIDC_TOKEN_FILE"),
    }
    if profile.text("ram_role_arn")?.is_none() {
        missing.push("ALIBABA_CLOUD_ROLE_ARN");
    }
    let mut role = role_entries(profile)?;
    // AssumeRoleWithOIDC has no external ID, and no tool sends one.
    role.0.retain(|it| it.key != "external_id");
    let mut converted = with_role(Identity::Oidc(entries), role);
    if !missing.is_empty() {
        let missing = missing.join(", ");
        converted.remarks.push(format!(
            "what it does not say comes from the daemon's environment: {missing}"
        ));
    }
    Ok(converted)
}
