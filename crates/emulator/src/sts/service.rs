//! The STS service: who is asking, and for which action.
//!
//! Checks run in one order, so that a request with two faults always gets the same
//! answer: key exists, key active, time stamp, signature, nonce, token, then the
//! action's own. A bad signature therefore never uses a nonce up. Where something else stands
//! for a signature, of the time stamp and the nonce what is there is checked first.

use crate::{
    clock::parse_iso_seconds,
    http::{
        reply::Reply,
        request::{HttpRequest, Parameters},
    },
    state::{
        Cloud, Now, hold,
        sessions::{Session, looks_like_token},
    },
    sts::{
        assume_role, assume_role_with_oidc as oidc, assume_role_with_saml as saml,
        error::StsError,
        issue::Twist,
        response as sts_answer,
        response::Format,
        signature::{acs3, claim::Signed, rpc_v1 as rpc},
    },
};

/// The name under which STS answers; clients only print it.
pub(crate) const HOST: &str = "sts.aliyuncs.com";

const VERSION: &str = "2015-04-01";

/// Whoever signed a request, once everything about it was checked.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    User(String),
    Session(Box<Session>),
}

/// The action a request asks for; empty when it names none.
pub(crate) fn action(request: &HttpRequest) -> String {
    let name = if speaks_by_headers(request) {
        request.header("x-acs-action").map(str::to_owned)
    } else {
        request.parameters().value("Action").map(str::to_owned)
    };
    name.unwrap_or_default()
}

/// Whether action and version are headers: with ACS3, and where an anonymous call has no
/// other. A client of the older way may send the headers besides.
fn speaks_by_headers(request: &HttpRequest) -> bool {
    acs3::is_used_by(request)
        || request.header("x-acs-action").is_some()
            && request.parameters().value("Action").is_none()
}

/// The name an action is counted under: the emulated ones, or `other`.
pub(crate) fn counted_name(action: &str) -> &'static str {
    match action {
        "AssumeRole" => "AssumeRole",
        "AssumeRoleWithOIDC" => "AssumeRoleWithOIDC",
        "AssumeRoleWithSAML" => "AssumeRoleWithSAML",
        "GetCallerIdentity" => "GetCallerIdentity",
        _ => "other",
    }
}

/// Answers one request.
pub(crate) fn answer(cloud: &Cloud, request: &HttpRequest, now: Now, twist: Twist) -> Reply {
    let (format, decided) = match format_of(request) {
        Ok(format) => (format, decide(cloud, request, now, twist)),
        Err(error) => (Format::Xml, Err(error)),
    };
    match decided {
        Ok((action, body)) => sts_answer::success(format, action, body),
        Err(error) => sts_answer::refusal(format, &error),
    }
}

/// The form of the answer a request wants; XML unless it says otherwise.
pub(crate) fn format_of(request: &HttpRequest) -> Result<Format, StsError> {
    if speaks_by_headers(request) {
        return Ok(Format::Json);
    }
    match request.parameters().value("Format") {
        None | Some("") => Ok(Format::Xml),
        Some(name) if name.eq_ignore_ascii_case("xml") => Ok(Format::Xml),
        Some(name) if name.eq_ignore_ascii_case("json") => Ok(Format::Json),
        Some(_) => Err(StsError::InvalidFormat),
    }
}

type Decided = Result<(&'static str, serde_json::Value), StsError>;

fn decide(cloud: &Cloud, request: &HttpRequest, now: Now, twist: Twist) -> Decided {
    if !matches!(request.method.as_str(), "GET" | "POST") {
        return Err(StsError::UnsupportedHttpMethod);
    }
    let action = action(request);
    let version = if speaks_by_headers(request) {
        request.header("x-acs-version").map(str::to_owned)
    } else {
        request.parameters().value("Version").map(str::to_owned)
    };
    match version.as_deref() {
        None | Some("") => return Err(StsError::Missing("Version")),
        Some(VERSION) => {}
        Some(_) => return Err(StsError::InvalidVersion),
    }
    if action.is_empty() {
        return Err(StsError::Missing("Action"));
    }
    let action = match counted_name(&action) {
        "other" => return Err(StsError::ActionNotFound),
        known => known,
    };
    let parameters = request.parameters();
    let body = match action {
        "AssumeRoleWithOIDC" => {
            check_unsigned(cloud, &parameters, now)?;
            oidc::run(cloud, &parameters, now, twist)?
        }
        "AssumeRoleWithSAML" => {
            check_unsigned(cloud, &parameters, now)?;
            saml::run(cloud, &parameters, now, twist)?
        }
        "AssumeRole" => {
            let caller = authenticate(cloud, request, now)?;
            assume_role::run(cloud, &caller, &parameters, now, twist)?
        }
        _ => sts_answer::identity(cloud, &authenticate(cloud, request, now)?),
    };
    Ok((action, body))
}

/// What an anonymous call says of itself: some clients send a time stamp, some a nonce too.
fn check_unsigned(cloud: &Cloud, parameters: &Parameters, now: Now) -> Result<(), StsError> {
    let said = |name| parameters.value(name).filter(|value| !value.is_empty());
    if let Some(stamp) = said("Timestamp") {
        let stamp = parse_iso_seconds(stamp).ok_or(StsError::TimeStampFormat)?;
        if !now.is_near(stamp) {
            return Err(StsError::TimeStampExpired);
        }
    }
    match said("SignatureNonce") {
        Some(nonce) if !hold(&cloud.nonces).spend("", nonce, now.truly) => Err(StsError::NonceUsed),
        _ => Ok(()),
    }
}

/// Reads whatever signature a request has.
///
/// # Errors
///
/// It is incomplete.
pub fn read_signature(request: &HttpRequest) -> Result<Option<Signed>, StsError> {
    match acs3::read(request)? {
        Some(signed) => Ok(Some(signed)),
        None => rpc::read(request),
    }
}

fn authenticate(cloud: &Cloud, request: &HttpRequest, now: Now) -> Result<Caller, StsError> {
    let signed = read_signature(request)?.ok_or(StsError::Missing("AccessKeyId"))?;
    let id = signed.access_key_id.as_str();
    let session = hold(&cloud.sessions).find(id).cloned();
    let (secret, caller) = match (session, cloud.world.keys.get(id)) {
        (Some(session), _) => (session.secret.clone(), Caller::Session(Box::new(session))),
        (None, Some(key)) if cloud.is_active(id, key) => {
            (key.secret.clone(), Caller::User(key.user.clone()))
        }
        (None, Some(_)) => return Err(StsError::AccessKeyInactive),
        (None, None) => return Err(StsError::AccessKeyNotFound),
    };
    let stamp = parse_iso_seconds(&signed.timestamp).ok_or(StsError::TimeStampFormat)?;
    if !now.is_near(stamp) {
        return Err(StsError::TimeStampExpired);
    }
    if !signed.is_signed_by(&secret) {
        return Err(StsError::SignatureDoesNotMatch(signed.string_to_sign));
    }
    if !hold(&cloud.nonces).spend(id, &signed.nonce, now.truly) {
        return Err(StsError::NonceUsed);
    }
    check_token(&caller, signed.security_token.as_deref(), now)?;
    Ok(caller)
}

fn check_token(caller: &Caller, token: Option<&str>, now: Now) -> Result<(), StsError> {
    match (caller, token) {
        (Caller::User(_), None) => Ok(()),
        (Caller::Session(_), None) => Err(StsError::Missing("SecurityToken")),
        (_, Some(token)) if !looks_like_token(token) => Err(StsError::TokenMalformed),
        (Caller::User(_), Some(_)) => Err(StsError::TokenMismatch),
        (Caller::Session(session), Some(token)) => {
            if session.token != token {
                Err(StsError::TokenMismatch)
            } else if session.expires <= now.truly {
                Err(StsError::TokenExpired)
            } else {
                Ok(())
            }
        }
    }
}
