//! What a call asks for: the parameters that every way to assume a role has.

use crate::{
    account::{
        arn,
        model::{Role, World},
        policy::Policy,
    },
    http::request::Parameters,
    sts::error::StsError,
};

const DEFAULT_SECONDS: u64 = 3600;
const MIN_SECONDS: u64 = 900;
const MAX_SECONDS: u64 = 43_200;
const POLICY_BYTES: usize = 2048;

/// A request whose every parameter has its form.
pub(crate) struct Wish {
    pub(crate) account: String,
    pub(crate) role: String,
    pub(crate) session_name: String,
    pub(crate) seconds: u64,
    pub(crate) policy: Option<Policy>,
    pub(crate) external_id: Option<String>,
    pub(crate) source_identity: Option<String>,
}

impl Wish {
    pub(crate) fn read(parameters: &Parameters) -> Result<Self, StsError> {
        let session_name = parameters.said("RoleSessionName");
        if parameters.said("RoleArn").is_some() && session_name.is_none() {
            return Err(StsError::MissingParameter("RoleSessionName"));
        }
        Self::read_named(parameters, session_name.unwrap_or_default())
    }

    /// The same for an action in which something else names the session.
    pub(crate) fn read_named(
        parameters: &Parameters,
        session_name: &str,
    ) -> Result<Self, StsError> {
        let arn = parameters
            .said("RoleArn")
            .ok_or(StsError::MissingParameter("RoleArn"))?;
        let (account, role) = arn::role(arn).ok_or(StsError::WronglyFormed("RoleArn"))?;
        if !is_session_name(session_name) {
            return Err(StsError::WronglyFormed("RoleSessionName"));
        }
        Ok(Self {
            account: account.to_owned(),
            role: role.to_owned(),
            session_name: session_name.to_owned(),
            seconds: read_seconds(parameters.value("DurationSeconds"))?,
            policy: parameters.value("Policy").map(read_policy).transpose()?,
            external_id: read_external_id(parameters.value("ExternalId"))?,
            source_identity: read_source_identity(parameters.value("SourceIdentity"))?,
        })
    }

    /// The role that is asked for.
    pub(crate) fn role<'a>(&self, world: &'a World) -> Result<&'a Role, StsError> {
        world
            .roles
            .get(&self.role)
            .filter(|_| self.account == world.account)
            .ok_or(StsError::RoleNotFound)
    }
}

/// Whether a text may name a session.
pub(crate) fn is_session_name(text: &str) -> bool {
    has_form(text, 2..=64, |c| ".@-_".contains(c))
}

fn read_seconds(text: Option<&str>) -> Result<u64, StsError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(DEFAULT_SECONDS);
    };
    text.parse()
        .ok()
        .filter(|seconds| (MIN_SECONDS..=MAX_SECONDS).contains(seconds))
        .ok_or(StsError::DurationSeconds)
}

fn read_policy(text: &str) -> Result<Policy, StsError> {
    if text.len() > POLICY_BYTES {
        return Err(StsError::PolicySize);
    }
    Policy::parse(text).map_err(|_| StsError::PolicyGrammar)
}

fn read_external_id(text: Option<&str>) -> Result<Option<String>, StsError> {
    match text {
        None => Ok(None),
        Some(text) if has_form(text, 2..=1224, |c| "_+=,.@:/-".contains(c)) => {
            Ok(Some(text.to_owned()))
        }
        Some(_) => Err(StsError::WronglyFormed("ExternalId")),
    }
}

fn read_source_identity(text: Option<&str>) -> Result<Option<String>, StsError> {
    let Some(text) = text else { return Ok(None) };
    let reserved = ["acs:", "aliyun:", "alibabacloud:"];
    if !has_form(text, 2..=64, |c| "_+=,.@-".contains(c))
        || reserved.iter().any(|prefix| text.starts_with(prefix))
    {
        return Err(StsError::WronglyFormed("SourceIdentity"));
    }
    Ok(Some(text.to_owned()))
}

fn has_form(
    text: &str,
    length: std::ops::RangeInclusive<usize>,
    also: impl Fn(char) -> bool,
) -> bool {
    length.contains(&text.chars().count())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || also(c))
}
