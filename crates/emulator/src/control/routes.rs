//! `/_emulator/…` on the STS address: counters to read, faults to script, and
//! what identity providers hand out.

use serde_json::{Value, json};

use crate::{
    http::{reply::Reply, request::HttpRequest},
    imds::service as metadata,
    state::{Cloud, hold},
    sts::{assume_role_with_oidc as oidc, assume_role_with_saml as saml},
};

pub(crate) const PREFIX: &str = "/_emulator/";

pub(crate) fn answer(cloud: &Cloud, request: &HttpRequest) -> Reply {
    let now = cloud.clock.now();
    let name = request.path.strip_prefix(PREFIX).unwrap_or_default();
    match (request.method.as_str(), name) {
        ("GET", "stats") => json_reply(&json!({
            "calls": *hold(&cloud.stats),
            "sessions_live": hold(&cloud.sessions).live(now),
        })),
        ("DELETE", "stats") => {
            hold(&cloud.stats).clear();
            json_reply(&json!({}))
        }
        ("GET", "faults") => json_reply(&json!({ "faults": cloud.faults.list(now) })),
        ("POST", "faults") => match cloud.faults.add(&request.body, now) {
            Ok(()) => json_reply(&json!({ "faults": cloud.faults.list(now) })),
            Err(error) => refusal(400, &error.to_string()),
        },
        ("DELETE", "faults") => {
            cloud.faults.clear();
            json_reply(&json!({}))
        }
        ("POST", "keys") => minted(cloud.switch(&request.body)),
        ("GET", "oidc/keys") => json_reply(&cloud.keys.published()),
        ("POST", "oidc/token") => minted(oidc::mint(cloud, &request.body)),
        ("POST", "saml/assertion") => minted(saml::mint(cloud, &request.body)),
        ("POST", "imds/rotate") => minted(metadata::rotate(cloud)),
        (_, "oidc/keys") => refusal(405, "this takes GET"),
        (_, "keys" | "oidc/token" | "saml/assertion" | "imds/rotate") => {
            refusal(405, "this takes POST")
        }
        (_, "stats" | "faults") => refusal(405, "this takes GET and DELETE, and faults also POST"),
        _ => refusal(
            404,
            "there are stats, faults, keys, oidc/token, oidc/keys, saml/assertion and \
             imds/rotate under /_emulator/",
        ),
    }
}

fn minted(made: Result<Value, String>) -> Reply {
    made.map_or_else(|text| refusal(400, &text), |made| json_reply(&made))
}

fn json_reply(value: &Value) -> Reply {
    Reply::ok("application/json", format!("{value}\n"))
}

fn refusal(status: u16, text: &str) -> Reply {
    let mut reply = json_reply(&json!({ "error": text }));
    reply.status = status;
    reply
}
