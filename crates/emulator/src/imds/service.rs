//! The metadata service, which an instance has at 100.100.100.200: tokens, the instance's role,
//! and the credentials of the role.
//!
//! The vendor documents neither the reply to a request without a valid token nor the form of
//! errors. The emulator replies with 403 without a token and with 401 to an unknown or expired
//! one, and the body of an error is an HTML page.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    account::model::Instance,
    clock::{RequestTime, iso_seconds, saturating_add},
    encoding::{LETTERS_AND_DIGITS, escape_xml, random_text},
    fault::script::CredentialFault,
    http::{reply::Reply, request::HttpRequest},
    imds::{
        credentials::{self, INSTANCE_ID},
        route::Route,
    },
    state::EmulatorState,
    sync::lock,
};

const TOKEN_TTL_HEADER: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aliyun-ecs-metadata-token";

/// The valid lifetimes of a token, in seconds.
const TOKEN_TTL_SECONDS: std::ops::RangeInclusive<i64> = 1..=21_600;

/// An error of the service.
#[derive(Debug, Clone, Copy)]
enum ImdsError {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
}

impl ImdsError {
    /// Returns the HTTP status and its name.
    fn status(self) -> (u16, &'static str) {
        match self {
            Self::BadRequest => (400, "BadRequest"),
            Self::Unauthorized => (401, "Unauthorized"),
            Self::Forbidden => (403, "Forbidden"),
            Self::NotFound => (404, "NotFound"),
            Self::MethodNotAllowed => (405, "MethodNotAllowed"),
        }
    }
}

/// Returns the reply to one request.
pub(crate) fn respond(
    state: &EmulatorState,
    request: &HttpRequest,
    now: RequestTime,
    fault: Option<CredentialFault>,
) -> Reply {
    let result = match (request.method.as_str(), Route::from_request(request)) {
        ("PUT", Route::Token) => issue_token(state, request, now),
        ("GET", Route::Token) | ("PUT", _) => Err(ImdsError::MethodNotAllowed),
        ("GET", route) => {
            check_token(state, request, now).and_then(|()| read_document(state, route, now, fault))
        }
        _ => Err(ImdsError::MethodNotAllowed),
    };
    result.unwrap_or_else(|error| {
        let (status, name) = error.status();
        error_reply(name.to_owned(), status, &format!("{status} - {name}"))
    })
}

/// Returns the name under which a request is counted.
pub(crate) fn counted_action(request: &HttpRequest) -> &'static str {
    Route::from_request(request).name()
}

/// Returns an error reply, an HTML page.
pub(crate) fn error_reply(code: String, status: u16, message: &str) -> Reply {
    let text = escape_xml(message);
    let page = format!(
        "<!DOCTYPE html><html><head><title>{text}</title></head>\
         <body><h1>{text}</h1></body></html>\n"
    );
    let mut reply = Reply::ok("text/html", page);
    reply.status = status;
    reply.outcome = code;
    reply
}

/// Returns the document without credentials: a `Code`, with status 200.
pub(crate) fn unsuccessful_reply(state: &EmulatorState, code: &str) -> Reply {
    let now = iso_seconds(state.clock.now());
    document(&json!({ "Code": code, "LastUpdated": now }))
}

fn document(value: &Value) -> Reply {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    Reply::ok("text/plain", text)
}

fn issue_token(
    state: &EmulatorState,
    request: &HttpRequest,
    now: RequestTime,
) -> Result<Reply, ImdsError> {
    let seconds = request
        .header(TOKEN_TTL_HEADER)
        .and_then(|text| text.parse().ok())
        .filter(|seconds| TOKEN_TTL_SECONDS.contains(seconds))
        .ok_or(ImdsError::BadRequest)?;
    // Begins with a text that marks the token as a secret, as all secrets of the emulator do.
    let token = format!(
        "EmulatedTokenOfMetadata{}",
        random_text(LETTERS_AND_DIGITS, 33)
    );
    let expiration = saturating_add(now.actual, SignedDuration::from_secs(seconds));
    lock(&state.imds).add_token(token.clone(), expiration);
    Ok(Reply::ok("text/plain", token))
}

fn check_token(
    state: &EmulatorState,
    request: &HttpRequest,
    now: RequestTime,
) -> Result<(), ImdsError> {
    let instance = state.account.instance.as_ref();
    match request.header(TOKEN_HEADER) {
        None if instance.is_some_and(|instance| instance.v1) => Ok(()),
        None => Err(ImdsError::Forbidden),
        Some(token) if lock(&state.imds).is_valid_token(token, now.actual) => Ok(()),
        Some(_) => Err(ImdsError::Unauthorized),
    }
}

fn read_document(
    state: &EmulatorState,
    route: Route<'_>,
    now: RequestTime,
    fault: Option<CredentialFault>,
) -> Result<Reply, ImdsError> {
    let instance = state.account.instance.as_ref().ok_or(ImdsError::NotFound)?;
    let text = |text: &str| Ok(Reply::ok("text/plain", text.to_owned()));
    match route {
        Route::Role => text(&instance.role),
        Route::Credentials(role) if role == instance.role => {
            Ok(credentials_document(state, instance, now, fault))
        }
        Route::Other("/latest/meta-data/region-id") => text(&instance.region),
        Route::Other("/latest/meta-data/zone-id") => text(&format!("{}-b", instance.region)),
        Route::Other("/latest/meta-data/instance-id") => text(INSTANCE_ID),
        Route::Other("/latest/meta-data/owner-account-id") => text(&state.account.id),
        _ => Err(ImdsError::NotFound),
    }
}

fn credentials_document(
    state: &EmulatorState,
    instance: &Instance,
    now: RequestTime,
    fault: Option<CredentialFault>,
) -> Reply {
    let issued = match fault {
        // Issued for this reply only: the current credentials stay as they are.
        Some(CredentialFault::Expired) => credentials::issue(state, instance, now, fault),
        _ => credentials::current(state, instance, now),
    };
    let mut body = issued.credentials.to_json(now, fault);
    body["Code"] = json!("Success");
    body["LastUpdated"] = json!(iso_seconds(saturating_add(issued.issued, now.offset)));
    document(&body)
}
