//! `AssumeRole`: its parameters, the role's trust, and the session it mints.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::clock::{iso_seconds, shifted};
use crate::cloud::{Cloud, Now, hold};
use crate::policy::Policy;
use crate::request::Parameters;
use crate::sessions::{Session, new_secret, new_token};
use crate::sts::Caller;
use crate::sts_error::StsError;
use crate::world::{Principal, Role};

const DEFAULT_SECONDS: u64 = 3600;
const MIN_SECONDS: u64 = 900;
const MAX_SECONDS: u64 = 43_200;
const POLICY_BYTES: usize = 2048;

/// How a scripted fault bends an otherwise good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twist {
    /// Not at all.
    None,
    /// A credential that expired a minute ago, and is refused as such.
    Expired,
    /// Empty fields.
    Empty,
    /// An `Expiration` a year beyond what was asked; the session itself ends in time.
    Beyond,
}

/// A request whose every parameter has its form.
struct Wish {
    account: String,
    role: String,
    session_name: String,
    seconds: u64,
    policy: Option<Policy>,
    external_id: Option<String>,
    source_identity: Option<String>,
}

pub(crate) fn run(
    cloud: &Cloud,
    caller: &Caller,
    parameters: &Parameters,
    now: Now,
    twist: Twist,
) -> Result<Value, StsError> {
    let wish = Wish::read(parameters)?;
    let role = cloud
        .world
        .roles
        .get(&wish.role)
        .filter(|_| wish.account == cloud.world.account)
        .ok_or(StsError::RoleNotFound)?;
    check_length(cloud, caller, role, wish.seconds)?;
    check_trust(caller, role, wish.external_id.as_deref())?;
    Ok(mint(cloud, role, wish, now, twist))
}

impl Wish {
    fn read(parameters: &Parameters) -> Result<Self, StsError> {
        let arn = parameters
            .value("RoleArn")
            .filter(|text| !text.is_empty())
            .ok_or(StsError::MissingParameter("RoleArn"))?;
        let session_name = parameters
            .value("RoleSessionName")
            .filter(|text| !text.is_empty())
            .ok_or(StsError::MissingParameter("RoleSessionName"))?;
        let (account, role) = read_arn(arn).ok_or(StsError::WronglyFormed("RoleArn"))?;
        if !has_form(session_name, 2..=64, |c| ".@-_".contains(c)) || !session_name.is_ascii() {
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
}

fn read_arn(arn: &str) -> Option<(&str, &str)> {
    let (account, role) = arn.strip_prefix("acs:ram::")?.split_once(":role/")?;
    let good_account = !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_digit());
    let good_role = (1..=64).contains(&role.chars().count())
        && !role.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    (good_account && good_role).then_some((account, role))
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

fn check_length(cloud: &Cloud, caller: &Caller, role: &Role, seconds: u64) -> Result<(), StsError> {
    let chained = matches!(caller, Caller::Session(_));
    let longest = if chained && cloud.world.chained_session_cap {
        role.max_session.min(Duration::from_secs(3600))
    } else {
        role.max_session
    };
    if Duration::from_secs(seconds) > longest {
        return Err(StsError::DurationSeconds);
    }
    Ok(())
}

fn check_trust(caller: &Caller, role: &Role, external_id: Option<&str>) -> Result<(), StsError> {
    let caller = match caller {
        Caller::User(name) => Principal::User(name.clone()),
        Caller::Session(session) => Principal::Role(session.role.clone()),
    };
    let known_outside = role.external_id.is_none() || role.external_id.as_deref() == external_id;
    if role.trusts.contains(&caller) && known_outside {
        Ok(())
    } else {
        Err(StsError::NoPermission)
    }
}

fn mint(cloud: &Cloud, role: &Role, wish: Wish, now: Now, twist: Twist) -> Value {
    let asked = Duration::from_secs(wish.seconds);
    let life = cloud.session_life.map_or(asked, |life| life.min(asked));
    let life = SignedDuration::try_from(life).unwrap_or(SignedDuration::from_hours(1));
    let expires = match twist {
        Twist::Expired => shifted(now.truly, -SignedDuration::from_mins(1)),
        _ => shifted(now.truly, life),
    };
    let session = Session {
        secret: new_secret(),
        token: new_token(),
        role: wish.role.clone(),
        name: wish.session_name.clone(),
        policy: wish.policy,
        source_identity: wish.source_identity.clone(),
        expires,
    };
    let (secret, token) = (session.secret.clone(), session.token.clone());
    let id = hold(&cloud.sessions).keep(session, now.truly);
    let printed = match twist {
        Twist::Beyond => shifted(expires, SignedDuration::from_hours(24 * 365)),
        _ => expires,
    };
    // Printed as the server's clock would have it.
    let printed = iso_seconds(shifted(printed, now.offset));
    let credentials = match twist {
        Twist::Empty => json!({
            "AccessKeyId": "", "AccessKeySecret": "", "SecurityToken": "", "Expiration": "",
        }),
        _ => json!({
            "AccessKeyId": id,
            "AccessKeySecret": secret,
            "SecurityToken": token,
            "Expiration": printed,
        }),
    };
    let mut answer = json!({
        "AssumedRoleUser": {
            "AssumedRoleId": format!("{}:{}", role.id, wish.session_name),
            "Arn": format!(
                "acs:ram::{}:role/{}/{}",
                cloud.world.account, wish.role, wish.session_name
            ),
        },
        "Credentials": credentials,
    });
    if let Some(identity) = wish.source_identity {
        answer["SourceIdentity"] = Value::String(identity);
    }
    answer
}
