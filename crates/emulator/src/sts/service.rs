//! The STS service: the action of a request, its checks and its reply.

use serde_json::Value;

use crate::{
    clock::RequestTime,
    fault::script::CredentialFault,
    http::{reply::Reply, request::HttpRequest},
    state::EmulatorState,
    sts::{
        assume_role, assume_role_with_oidc, assume_role_with_saml,
        caller::{Caller, check_unsigned},
        error::StsError,
        get_caller_identity,
        response::{self, Format},
        signature::acs3,
    },
};

const API_VERSION: &str = "2015-04-01";

/// Returns the reply to one request.
pub(crate) fn respond(
    state: &EmulatorState,
    request: &HttpRequest,
    now: RequestTime,
    fault: Option<CredentialFault>,
) -> Reply {
    let (format, result) = match requested_format(request) {
        Ok(format) => (format, run(state, request, now, fault)),
        Err(error) => (Format::Xml, Err(error)),
    };
    match result {
        Ok((action, body)) => response::success(format, action, body),
        Err(error) => response::error(format, &error),
    }
}

/// Returns the name under which a request is counted: one of the emulated actions, or `other`.
pub(crate) fn counted_action(request: &HttpRequest) -> &'static str {
    match requested_action(request).as_str() {
        "AssumeRole" => "AssumeRole",
        "AssumeRoleWithOIDC" => "AssumeRoleWithOIDC",
        "AssumeRoleWithSAML" => "AssumeRoleWithSAML",
        "GetCallerIdentity" => "GetCallerIdentity",
        _ => "other",
    }
}

/// Returns the format of the reply that a request asks for; XML by default.
///
/// # Errors
///
/// `Format` is neither XML nor JSON.
pub(crate) fn requested_format(request: &HttpRequest) -> Result<Format, StsError> {
    if has_action_header(request) {
        return Ok(Format::Json);
    }
    match request.parameters().value("Format") {
        None | Some("") => Ok(Format::Xml),
        Some(name) if name.eq_ignore_ascii_case("xml") => Ok(Format::Xml),
        Some(name) if name.eq_ignore_ascii_case("json") => Ok(Format::Json),
        Some(_) => Err(StsError::InvalidFormat),
    }
}

fn run(
    state: &EmulatorState,
    request: &HttpRequest,
    now: RequestTime,
    fault: Option<CredentialFault>,
) -> Result<(&'static str, Value), StsError> {
    if !matches!(request.method.as_str(), "GET" | "POST") {
        return Err(StsError::UnsupportedHttpMethod);
    }
    check_version(request)?;
    if requested_action(request).is_empty() {
        return Err(StsError::Missing("Action"));
    }
    let action = counted_action(request);
    let parameters = request.parameters();
    let body = match action {
        "AssumeRole" => {
            let caller = Caller::authenticate(state, request, now)?;
            assume_role::run(state, &caller, &parameters, now, fault)?
        }
        "AssumeRoleWithOIDC" => {
            check_unsigned(state, &parameters, now)?;
            assume_role_with_oidc::run(state, &parameters, now, fault)?
        }
        "AssumeRoleWithSAML" => {
            check_unsigned(state, &parameters, now)?;
            assume_role_with_saml::run(state, &parameters, now, fault)?
        }
        "GetCallerIdentity" => {
            let caller = Caller::authenticate(state, request, now)?;
            get_caller_identity::run(state, &caller)
        }
        _ => return Err(StsError::ActionNotFound),
    };
    Ok((action, body))
}

fn check_version(request: &HttpRequest) -> Result<(), StsError> {
    let version = if has_action_header(request) {
        request.header("x-acs-version").map(str::to_owned)
    } else {
        request.parameters().value("Version").map(str::to_owned)
    };
    match version.as_deref() {
        None | Some("") => Err(StsError::Missing("Version")),
        Some(API_VERSION) => Ok(()),
        Some(_) => Err(StsError::InvalidVersion),
    }
}

/// Returns the action of a request; an empty text if the request has none.
fn requested_action(request: &HttpRequest) -> String {
    let name = if has_action_header(request) {
        request.header("x-acs-action").map(str::to_owned)
    } else {
        request.parameters().value("Action").map(str::to_owned)
    };
    name.unwrap_or_default()
}

/// Returns `true` if the action and the version are in headers: in an ACS3 request, and in an
/// unsigned one without an `Action` parameter. A client that signs by RPC V1 may send the headers
/// too.
fn has_action_header(request: &HttpRequest) -> bool {
    acs3::is_present(request)
        || request.header("x-acs-action").is_some()
            && request.parameters().value("Action").is_none()
}
