//! The caller of an STS action: the verification of its signature and token.
//!
//! The checks have one order, so that a request with two mistakes always has the same reply: the
//! key exists, the key is active, time stamp, signature, nonce, token. A request with a wrong
//! signature therefore does not use up its nonce.

use crate::{
    clock::{RequestTime, parse_iso_seconds},
    http::request::{HttpRequest, Parameters},
    state::{
        EmulatorState,
        sessions::{Session, has_token_form},
    },
    sts::{error::StsError, signature},
    sync::lock,
};

/// The verified signer of a request.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// A RAM user, by its name.
    User(String),
    /// A role session.
    Session(Box<Session>),
}

impl Caller {
    /// Returns the caller of a signed request.
    ///
    /// # Errors
    ///
    /// The first check that fails, in the order of this module.
    pub(crate) fn authenticate(
        state: &EmulatorState,
        request: &HttpRequest,
        now: RequestTime,
    ) -> Result<Self, StsError> {
        let claim = signature::parse(request)?.ok_or(StsError::Missing("AccessKeyId"))?;
        let id = claim.access_key_id.as_str();
        let session = lock(&state.sessions).get(id).cloned();
        let (secret, caller) = match (session, state.account.keys.get(id)) {
            (Some(session), _) => (session.secret.clone(), Self::Session(Box::new(session))),
            (None, Some(key)) if state.is_key_active(id, key) => {
                (key.secret.clone(), Self::User(key.user.clone()))
            }
            (None, Some(_)) => return Err(StsError::AccessKeyInactive),
            (None, None) => return Err(StsError::AccessKeyNotFound),
        };
        check_timestamp(&claim.timestamp, now)?;
        if !claim.is_made_with(&secret) {
            return Err(StsError::SignatureDoesNotMatch(claim.string_to_sign));
        }
        if !lock(&state.nonces).insert(id, &claim.nonce, now.actual) {
            return Err(StsError::NonceUsed);
        }
        caller.check_token(claim.security_token.as_deref(), now)?;
        Ok(caller)
    }

    fn check_token(&self, token: Option<&str>, now: RequestTime) -> Result<(), StsError> {
        match (self, token) {
            (Self::User(_), None) => Ok(()),
            (Self::Session(_), None) => Err(StsError::Missing("SecurityToken")),
            (_, Some(token)) if !has_token_form(token) => Err(StsError::TokenMalformed),
            (Self::User(_), Some(_)) => Err(StsError::TokenMismatch),
            (Self::Session(session), Some(token)) if session.token != token => {
                Err(StsError::TokenMismatch)
            }
            (Self::Session(session), Some(_)) if session.expiration <= now.actual => {
                Err(StsError::TokenExpired)
            }
            (Self::Session(_), Some(_)) => Ok(()),
        }
    }
}

/// Checks the time stamp and the nonce of an unsigned request, each if it is present: clients of
/// unsigned actions differ in which of the two they send.
pub(crate) fn check_unsigned(
    state: &EmulatorState,
    parameters: &Parameters,
    now: RequestTime,
) -> Result<(), StsError> {
    if let Some(stamp) = parameters.non_empty("Timestamp") {
        check_timestamp(stamp, now)?;
    }
    match parameters.non_empty("SignatureNonce") {
        Some(nonce) if !lock(&state.nonces).insert("", nonce, now.actual) => {
            Err(StsError::NonceUsed)
        }
        _ => Ok(()),
    }
}

fn check_timestamp(text: &str, now: RequestTime) -> Result<(), StsError> {
    let stamp = parse_iso_seconds(text).ok_or(StsError::TimeStampFormat)?;
    if now.is_within_window(stamp) {
        Ok(())
    } else {
        Err(StsError::TimeStampExpired)
    }
}
