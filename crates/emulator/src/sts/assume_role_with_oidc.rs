//! `AssumeRoleWithOIDC`: a token of a provider instead of a signature, and where to get one.
//!
//! Anonymous: a key and a signature are not asked for and, if they come, not looked at.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    account::{
        arn,
        model::{Principal, Role},
        policy::matches,
    },
    clock::{iso_seconds, shifted},
    control::request as order,
    http::request::Parameters,
    jwt::Algorithm,
    state::{Cloud, Now},
    sts::{
        error::StsError,
        issue::{Twist, issue},
        request::Wish,
    },
};

/// How long a token may be, in characters.
const TOKEN_LENGTH: std::ops::RangeInclusive<usize> = 4..=20_000;

/// How far a provider's clock may be ahead.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// How long a token lives that was asked for without a life.
const LIFE: SignedDuration = SignedDuration::from_hours(1);

/// What a token says, once its signature was found good.
struct Claims {
    issuer: String,
    subject: String,
    audience: Vec<String>,
    expires: Timestamp,
    issued: Timestamp,
    not_before: Option<Timestamp>,
}

pub(crate) fn run(
    cloud: &Cloud,
    parameters: &Parameters,
    now: Now,
    twist: Twist,
) -> Result<Value, StsError> {
    let said = |name| parameters.said(name).ok_or(StsError::Missing(name));
    let provider_arn = said("OIDCProviderArn")?;
    let token = said("OIDCToken")?;
    if !TOKEN_LENGTH.contains(&token.chars().count()) {
        return Err(StsError::WronglyFormed("OIDCToken"));
    }
    let wish = Wish::read(parameters)?;
    let (account, name) = arn::named(provider_arn, "oidc-provider", 128).ok_or(
        StsError::Untrusted("Parameter OIDCProviderArn is not valid"),
    )?;
    let provider = cloud
        .world
        .oidc_providers
        .get(name)
        .filter(|_| account == cloud.world.account)
        .ok_or(StsError::Untrusted("No such OIDC Provider registered."))?;
    let claims = cloud.keys.verify(token).ok();
    let claims = claims.and_then(|claims| Claims::read(&claims));
    let claims = claims.ok_or(StsError::OidcTokenInvalid)?;
    if claims.issuer != provider.issuer {
        return Err(StsError::OidcTokenIssuer);
    }
    if !claims
        .audience
        .iter()
        .any(|it| provider.client_ids.contains(it))
    {
        return Err(StsError::OidcTokenAudience);
    }
    claims.check_time(now)?;
    let role = wish.role(&cloud.world)?;
    if wish.seconds > role.max_session.as_secs() {
        return Err(StsError::DurationSeconds);
    }
    check_trust(role, name, &claims.subject)?;
    let mut answer = issue(cloud, role, wish, now, twist);
    answer["OIDCTokenInfo"] = json!({
        "Subject": claims.subject,
        "Issuer": claims.issuer,
        "ClientIds": claims.audience.join(","),
        "ExpirationTime": iso_seconds(claims.expires),
        "IssuanceTime": iso_seconds(claims.issued),
        "VerificationInfo": "Success",
    });
    Ok(answer)
}

fn check_trust(role: &Role, provider: &str, subject: &str) -> Result<(), StsError> {
    let trusted = role
        .trusts
        .contains(&Principal::OidcProvider(provider.to_owned()));
    let subjects = &role.oidc_subjects;
    let known = subjects.is_empty() || subjects.iter().any(|it| matches(it, subject));
    if trusted && known {
        Ok(())
    } else {
        Err(StsError::Untrusted("There is no permission"))
    }
}

impl Claims {
    fn read(claims: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| claims.get(name)?.as_str().map(str::to_owned);
        let time = |name: &str| Timestamp::from_second(claims.get(name)?.as_i64()?).ok();
        Some(Self {
            issuer: text("iss")?,
            subject: text("sub").filter(|subject| !subject.is_empty())?,
            audience: match claims.get("aud")? {
                Value::String(one) => vec![one.clone()],
                Value::Array(list) => list
                    .iter()
                    .map(|item| item.as_str().map(str::to_owned))
                    .collect::<Option<_>>()?,
                _ => return None,
            },
            expires: time("exp")?,
            issued: time("iat")?,
            not_before: match claims.get("nbf") {
                None => None,
                Some(_) => Some(time("nbf")?),
            },
        })
    }

    fn check_time(&self, now: Now) -> Result<(), StsError> {
        if self.expires <= now.by_server {
            return Err(StsError::OidcTokenExpired);
        }
        let latest = shifted(now.by_server, LEEWAY);
        let begins = self
            .not_before
            .map_or(self.issued, |it| it.max(self.issued));
        if begins > latest {
            return Err(StsError::OidcTokenInvalid);
        }
        Ok(())
    }
}

/// What a token is asked for with, on the control address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    provider: String,
    subject: String,
    audience: Option<Value>,
    issuer: Option<String>,
    #[serde(default)]
    algorithm: Algorithm,
    life: Option<String>,
    begins_in: Option<String>,
}

/// Mints a token, as good or as bad as it was asked for.
///
/// # Errors
///
/// The order makes no sense; the text says why.
pub(crate) fn mint(cloud: &Cloud, json: &[u8]) -> Result<Value, String> {
    let order: Order = order::read(json)?;
    let provider = order::provider(&cloud.world.oidc_providers, "OIDC", &order.provider)?;
    let now = cloud.clock.now();
    let life = order::span(order.life.as_deref())?.unwrap_or(LIFE);
    let expires = shifted(now, life);
    // One that has expired was good once.
    let issued = match order::span(order.begins_in.as_deref())? {
        Some(wait) => shifted(now, wait),
        None => now.min(shifted(expires, -LIFE)),
    };
    let audience = order
        .audience
        .unwrap_or_else(|| json!(provider.client_ids.first()));
    let claims = json!({
        "iss": order.issuer.as_deref().unwrap_or(&provider.issuer),
        "sub": order.subject,
        "aud": audience,
        "exp": expires.as_second(),
        "iat": issued.as_second(),
        "nbf": issued.as_second(),
    });
    let Value::Object(claims) = claims else {
        return Err("claims are an object".to_owned());
    };
    Ok(json!({ "token": cloud.keys.sign(order.algorithm, claims) }))
}
