//! The caller of an operation: the verification of its signature and token, and its policies.

use crate::{
    account::policy::Policy,
    clock::RequestTime,
    oss::{
        error::OssError,
        signature::claim::{ClaimedSignature, Validity},
    },
    state::EmulatorState,
    sync::lock,
};

/// The verified signer of a request, as the policies that must all allow its operation.
pub(crate) struct Caller {
    policies: Vec<Policy>,
}

impl Caller {
    /// Returns the caller of a signed request.
    ///
    /// # Errors
    ///
    /// The first check that fails: key, token, signature.
    pub(crate) fn authenticate(
        state: &EmulatorState,
        claim: &ClaimedSignature,
        now: RequestTime,
    ) -> Result<Self, OssError> {
        let id = &claim.access_key_id;
        let unknown = |temporary| OssError::InvalidAccessKeyId {
            id: id.clone(),
            temporary,
        };
        let token = claim.token.as_deref().filter(|token| !token.is_empty());
        let session = lock(&state.sessions).get(id).cloned();
        let (secret, policies) = match (session, state.account.keys.get(id), token) {
            (Some(session), _, Some(token)) => {
                if session.token != token {
                    return Err(OssError::InvalidSecurityToken);
                }
                if session.expiration <= now.actual {
                    return Err(OssError::SecurityTokenExpired);
                }
                let role = state.account.roles.get(&session.role);
                let role_policy = role.map(|role| role.policy.clone());
                let policies = role_policy.into_iter().chain(session.policy).collect();
                (session.secret, policies)
            }
            // OSS does not know a session's key without its token, nor a long-lived key with one.
            (Some(_), _, None) | (None, Some(_), Some(_)) => return Err(unknown(true)),
            (None, Some(key), None) => {
                if !state.is_key_active(id, key) {
                    return Err(OssError::AccessKeyDisabled { id: id.clone() });
                }
                let user = state.account.users.get(&key.user);
                let policy = user.and_then(|user| user.policy.clone());
                (key.secret.clone(), policy.into_iter().collect())
            }
            (None, None, _) => return Err(unknown(id.starts_with("STS."))),
        };
        if !claim.is_made_with(&secret) {
            return Err(OssError::SignatureDoesNotMatch {
                id: id.clone(),
                string_to_sign: claim.string_to_sign.clone(),
                canonical_request: claim.canonical_request.clone(),
                provided: claim.signature.clone(),
            });
        }
        Ok(Self { policies })
    }

    /// Checks that all policies allow an action on a resource, which has several equivalent ARNs. A
    /// caller without a policy has no rights.
    pub(crate) fn authorize(&self, action: &str, arns: &[String]) -> Result<(), OssError> {
        let mut policies = self.policies.iter();
        let is_allowed =
            !self.policies.is_empty() && policies.all(|policy| policy.allows(action, arns));
        if is_allowed {
            Ok(())
        } else {
            Err(OssError::FORBIDDEN)
        }
    }
}

/// Checks that a signature is valid at this time.
pub(crate) fn check_time(claim: &ClaimedSignature, now: RequestTime) -> Result<(), OssError> {
    match claim.validity {
        Validity::Around(made) if now.is_within_window(made) => Ok(()),
        Validity::Around(_) => Err(OssError::RequestTimeTooSkewed),
        Validity::Between(_, end) if now.server > end => Err(OssError::URL_EXPIRED),
        Validity::Between(start, _) if start > now.server && !now.is_within_window(start) => {
            Err(OssError::RequestTimeTooSkewed)
        }
        Validity::Between(..) => Ok(()),
    }
}
