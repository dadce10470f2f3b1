//! `AssumeRoleWithSAML`, which is authenticated by an assertion of a SAML provider.
//!
//! The action is unsigned. Issuer, audience, recipient, expiration and roles of the assertion are
//! checked as in the cloud; its seal is the emulator's own.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use crate::{
    account::{arn, model::Principal},
    clock::RequestTime,
    fault::script::CredentialFault,
    http::request::Parameters,
    saml::{SERVICES, role_attribute},
    state::EmulatorState,
    sts::{
        error::StsError,
        issue::issue_role_session,
        request::{AssumeRoleRequest, is_session_name},
    },
};

/// The valid lengths of an assertion in base64.
const ASSERTION_CHARS: RangeInclusive<usize> = 4..=100_000;

/// Maximum length of a provider's name.
const MAX_PROVIDER_NAME_CHARS: usize = 128;

/// Returns the reply for the parameters of an unsigned request.
pub(crate) fn run(
    state: &EmulatorState,
    parameters: &Parameters,
    now: RequestTime,
    fault: Option<CredentialFault>,
) -> Result<Value, StsError> {
    let required = |name| parameters.non_empty(name).ok_or(StsError::Missing(name));
    let provider_arn = required("SAMLProviderArn")?;
    let encoded = required("SAMLAssertion")?;
    if !ASSERTION_CHARS.contains(&encoded.chars().count()) {
        return Err(StsError::InvalidParameter("SAMLAssertion"));
    }
    let (account, name) = arn::parse(provider_arn, "saml-provider", MAX_PROVIDER_NAME_CHARS)
        .ok_or(StsError::InvalidParameter("SAMLProviderArn"))?;
    let provider = state
        .account
        .saml_providers
        .get(name)
        .filter(|_| account == state.account.id)
        .ok_or(StsError::SamlProviderNotFound)?;
    let assertion = state
        .saml_key
        .open(encoded)
        .ok_or(StsError::SamlAssertionInvalid)?;
    let service = (assertion.audience.as_str(), assertion.recipient.as_str());
    if assertion.issuer != provider.issuer
        || !SERVICES.contains(&service)
        || !is_session_name(&assertion.session_name)
    {
        return Err(StsError::SamlAssertionInvalid);
    }
    if assertion.expiration <= now.server {
        return Err(StsError::SamlAssertionExpired);
    }
    let request = AssumeRoleRequest::parse_with_session_name(parameters, &assertion.session_name)?;
    let role = request.find_role(&state.account)?;
    if request.duration_seconds > role.max_session.as_secs() {
        return Err(StsError::DurationSeconds);
    }
    // The provider grants the role to its user, and the role trusts the provider.
    let attribute = role_attribute(&request.account, &request.role, name);
    let principal = Principal::SamlProvider(name.to_owned());
    if !assertion.roles.contains(&attribute) || !role.trusts.contains(&principal) {
        return Err(StsError::NoPermission);
    }
    let mut reply = issue_role_session(state, role, request, now, fault);
    reply["SAMLAssertionInfo"] = json!({
        "SubjectType": "persistent",
        "Subject": assertion.subject,
        "Recipient": assertion.recipient,
        "Issuer": assertion.issuer,
    });
    Ok(reply)
}
