//! The routes under `/_emulator/` on the STS address.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    account::schema::KeyStatus,
    clock::{RequestTime, iso_seconds},
    control::{
        oidc_token,
        request::{self, SetKeyStatusRequest},
        saml_assertion,
    },
    http::{reply::Reply, request::HttpRequest},
    imds::credentials,
    state::EmulatorState,
    sync::lock,
};

/// The beginning of the paths of the control address.
pub(crate) const PREFIX: &str = "/_emulator/";

/// Returns the reply to one request.
pub(crate) fn respond(state: &EmulatorState, request: &HttpRequest) -> Reply {
    let now = state.clock.now();
    let name = request.path.strip_prefix(PREFIX).unwrap_or_default();
    match (request.method.as_str(), name) {
        ("GET", "stats") => json_reply(&json!({
            "calls": *lock(&state.stats),
            "sessions_live": lock(&state.sessions).live_count(now),
        })),
        ("DELETE", "stats") => {
            lock(&state.stats).clear();
            json_reply(&json!({}))
        }
        ("GET", "faults") => json_reply(&json!({ "faults": state.faults.to_json(now) })),
        ("POST", "faults") => match state.faults.add(&request.body, now) {
            Ok(()) => json_reply(&json!({ "faults": state.faults.to_json(now) })),
            Err(error) => error_reply(400, &error.to_string()),
        },
        ("DELETE", "faults") => {
            state.faults.clear();
            json_reply(&json!({}))
        }
        ("POST", "keys") => result_reply(set_key_status(state, &request.body)),
        ("GET", "oidc/keys") => json_reply(&state.oidc_keys.jwks()),
        ("POST", "oidc/token") => result_reply(oidc_token::mint(state, &request.body)),
        ("POST", "saml/assertion") => result_reply(saml_assertion::mint(state, &request.body)),
        ("POST", "imds/rotate") => result_reply(rotate_instance_credentials(state)),
        (_, "oidc/keys") => error_reply(405, "the method must be GET"),
        (_, "keys" | "oidc/token" | "saml/assertion" | "imds/rotate") => {
            error_reply(405, "the method must be POST")
        }
        (_, "stats") => error_reply(405, "the method must be GET or DELETE"),
        (_, "faults") => error_reply(405, "the method must be GET, POST or DELETE"),
        _ => error_reply(
            404,
            "the paths under /_emulator/ are stats, faults, keys, oidc/token, oidc/keys, \
             saml/assertion and imds/rotate",
        ),
    }
}

fn set_key_status(state: &EmulatorState, json: &[u8]) -> Result<Value, String> {
    let request: SetKeyStatusRequest = request::parse(json)?;
    if state.set_key_status(&request.id, request.status == KeyStatus::Active) {
        Ok(json!({}))
    } else {
        Err(format!("the account model has no key {:?}", request.id))
    }
}

fn rotate_instance_credentials(state: &EmulatorState) -> Result<Value, String> {
    let instance = state.account.instance.as_ref();
    let instance = instance.ok_or_else(|| "the account model has no [instance]".to_owned())?;
    let now = RequestTime::new(state.clock.now(), SignedDuration::ZERO);
    let current = credentials::replace(state, instance, now);
    Ok(json!({
        "AccessKeyId": current.credentials.access_key_id,
        "Expiration": iso_seconds(current.credentials.expiration),
    }))
}

fn result_reply(result: Result<Value, String>) -> Reply {
    result.map_or_else(|text| error_reply(400, &text), |value| json_reply(&value))
}

fn json_reply(value: &Value) -> Reply {
    Reply::ok("application/json", format!("{value}\n"))
}

fn error_reply(status: u16, text: &str) -> Reply {
    let mut reply = json_reply(&json!({ "error": text }));
    reply.status = status;
    reply
}
