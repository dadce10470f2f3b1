//! The parameters that the three actions to assume a role have in common.

use std::ops::RangeInclusive;

use crate::{
    account::{
        arn,
        model::{AccountModel, Role},
        policy::Policy,
    },
    http::request::Parameters,
    sts::error::StsError,
};

const DEFAULT_DURATION_SECONDS: u64 = 3600;
const DURATION_SECONDS: RangeInclusive<u64> = 900..=43_200;
const MAX_POLICY_BYTES: usize = 2048;

/// The valid parameters of a request to assume a role.
pub(crate) struct AssumeRoleRequest {
    pub(crate) account: String,
    pub(crate) role: String,
    pub(crate) session_name: String,
    pub(crate) duration_seconds: u64,
    pub(crate) policy: Option<Policy>,
    pub(crate) external_id: Option<String>,
    pub(crate) source_identity: Option<String>,
}

impl AssumeRoleRequest {
    /// Parses the parameters, among them the session's name.
    pub(crate) fn parse(parameters: &Parameters) -> Result<Self, StsError> {
        let session_name = parameters.non_empty("RoleSessionName");
        if parameters.non_empty("RoleArn").is_some() && session_name.is_none() {
            return Err(StsError::MissingParameter("RoleSessionName"));
        }
        Self::parse_with_session_name(parameters, session_name.unwrap_or_default())
    }

    /// Parses the parameters of an action that has the session's name from elsewhere.
    pub(crate) fn parse_with_session_name(
        parameters: &Parameters,
        session_name: &str,
    ) -> Result<Self, StsError> {
        let arn = parameters
            .non_empty("RoleArn")
            .ok_or(StsError::MissingParameter("RoleArn"))?;
        let (account, role) = arn::parse_role(arn).ok_or(StsError::InvalidParameter("RoleArn"))?;
        if !is_session_name(session_name) {
            return Err(StsError::InvalidParameter("RoleSessionName"));
        }
        Ok(Self {
            account: account.to_owned(),
            role: role.to_owned(),
            session_name: session_name.to_owned(),
            duration_seconds: parse_duration_seconds(parameters.value("DurationSeconds"))?,
            policy: parameters.value("Policy").map(parse_policy).transpose()?,
            external_id: parse_external_id(parameters.value("ExternalId"))?,
            source_identity: parse_source_identity(parameters.value("SourceIdentity"))?,
        })
    }

    /// Returns the requested role.
    pub(crate) fn find_role<'a>(&self, account: &'a AccountModel) -> Result<&'a Role, StsError> {
        account
            .roles
            .get(&self.role)
            .filter(|_| self.account == account.id)
            .ok_or(StsError::RoleNotFound)
    }
}

/// Returns `true` if a text is a valid session name.
pub(crate) fn is_session_name(text: &str) -> bool {
    has_form(text, 2..=64, ".@-_")
}

fn parse_duration_seconds(text: Option<&str>) -> Result<u64, StsError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(DEFAULT_DURATION_SECONDS);
    };
    text.parse()
        .ok()
        .filter(|seconds| DURATION_SECONDS.contains(seconds))
        .ok_or(StsError::DurationSeconds)
}

fn parse_policy(text: &str) -> Result<Policy, StsError> {
    if text.len() > MAX_POLICY_BYTES {
        return Err(StsError::PolicySize);
    }
    Policy::parse(text).map_err(|_| StsError::PolicyGrammar)
}

fn parse_external_id(text: Option<&str>) -> Result<Option<String>, StsError> {
    match text {
        None => Ok(None),
        Some(text) if has_form(text, 2..=1224, "_+=,.@:/-") => Ok(Some(text.to_owned())),
        Some(_) => Err(StsError::InvalidParameter("ExternalId")),
    }
}

fn parse_source_identity(text: Option<&str>) -> Result<Option<String>, StsError> {
    let Some(text) = text else { return Ok(None) };
    let reserved_prefixes = ["acs:", "aliyun:", "alibabacloud:"];
    if !has_form(text, 2..=64, "_+=,.@-")
        || reserved_prefixes
            .iter()
            .any(|prefix| text.starts_with(prefix))
    {
        return Err(StsError::InvalidParameter("SourceIdentity"));
    }
    Ok(Some(text.to_owned()))
}

/// Returns `true` if a text has a valid length and consists of ASCII letters, digits and the
/// characters of `punctuation`.
fn has_form(text: &str, chars: RangeInclusive<usize>, punctuation: &str) -> bool {
    chars.contains(&text.chars().count())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || punctuation.contains(c))
}
