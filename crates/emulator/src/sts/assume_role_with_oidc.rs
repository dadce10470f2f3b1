//! `AssumeRoleWithOIDC`, which is authenticated by a token of an OIDC provider.
//!
//! The action is unsigned. Parameters of a signature are ignored.

use std::ops::RangeInclusive;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::{
    account::{
        arn,
        model::{Principal, Role},
        policy::matches,
    },
    clock::{RequestTime, iso_seconds, saturating_add},
    fault::script::CredentialFault,
    http::request::Parameters,
    state::EmulatorState,
    sts::{error::StsError, issue::issue_role_session, request::AssumeRoleRequest},
};

/// The valid lengths of a token.
const TOKEN_CHARS: RangeInclusive<usize> = 4..=20_000;

/// Maximum length of a provider's name.
const MAX_PROVIDER_NAME_CHARS: usize = 128;

/// Maximum lead of the provider's clock.
const CLOCK_LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// The claims of a token with a valid signature.
struct Claims {
    issuer: String,
    subject: String,
    audience: Vec<String>,
    expiration: Timestamp,
    issued: Timestamp,
    not_before: Option<Timestamp>,
}

impl Claims {
    /// Returns the claims that STS needs; `None` if one is missing or of another type.
    fn parse(claims: &Map<String, Value>) -> Option<Self> {
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
            expiration: time("exp")?,
            issued: time("iat")?,
            not_before: match claims.get("nbf") {
                None => None,
                Some(_) => Some(time("nbf")?),
            },
        })
    }

    fn check_time(&self, now: RequestTime) -> Result<(), StsError> {
        if self.expiration <= now.server {
            return Err(StsError::OidcTokenExpired);
        }
        let latest_start = saturating_add(now.server, CLOCK_LEEWAY);
        let start = self
            .not_before
            .map_or(self.issued, |not_before| not_before.max(self.issued));
        if start > latest_start {
            return Err(StsError::OidcTokenInvalid);
        }
        Ok(())
    }
}

/// Returns the reply for the parameters of an unsigned request.
pub(crate) fn run(
    state: &EmulatorState,
    parameters: &Parameters,
    now: RequestTime,
    fault: Option<CredentialFault>,
) -> Result<Value, StsError> {
    let required = |name| parameters.non_empty(name).ok_or(StsError::Missing(name));
    let provider_arn = required("OIDCProviderArn")?;
    let token = required("OIDCToken")?;
    if !TOKEN_CHARS.contains(&token.chars().count()) {
        return Err(StsError::InvalidParameter("OIDCToken"));
    }
    let request = AssumeRoleRequest::parse(parameters)?;
    let (account, name) = arn::parse(provider_arn, "oidc-provider", MAX_PROVIDER_NAME_CHARS)
        .ok_or(StsError::Untrusted(
            "Parameter OIDCProviderArn is not valid",
        ))?;
    let provider = state
        .account
        .oidc_providers
        .get(name)
        .filter(|_| account == state.account.id)
        .ok_or(StsError::Untrusted("No such OIDC Provider registered."))?;
    let keys = provider.keys.as_ref().unwrap_or(&state.oidc_public_keys);
    let claims = keys
        .verify(token)
        .ok()
        .and_then(|claims| Claims::parse(&claims))
        .ok_or(StsError::OidcTokenInvalid)?;
    if claims.issuer != provider.issuer {
        return Err(StsError::OidcTokenIssuer);
    }
    if !claims
        .audience
        .iter()
        .any(|audience| provider.client_ids.contains(audience))
    {
        return Err(StsError::OidcTokenAudience);
    }
    claims.check_time(now)?;
    let role = request.find_role(&state.account)?;
    if request.duration_seconds > role.max_session.as_secs() {
        return Err(StsError::DurationSeconds);
    }
    check_trust(role, name, &claims.subject)?;
    let mut reply = issue_role_session(state, role, request, now, fault);
    reply["OIDCTokenInfo"] = json!({
        "Subject": claims.subject,
        "Issuer": claims.issuer,
        "ClientIds": claims.audience.join(","),
        "ExpirationTime": iso_seconds(claims.expiration),
        "IssuanceTime": iso_seconds(claims.issued),
        "VerificationInfo": "Success",
    });
    Ok(reply)
}

fn check_trust(role: &Role, provider: &str, subject: &str) -> Result<(), StsError> {
    let is_provider_trusted = role
        .trusts
        .contains(&Principal::OidcProvider(provider.to_owned()));
    let patterns = &role.oidc_subjects;
    let is_subject_trusted =
        patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, subject));
    if is_provider_trusted && is_subject_trusted {
        Ok(())
    } else {
        Err(StsError::Untrusted("There is no permission"))
    }
}
