//! The HTTP endpoint, as `reload`, `status`, `metrics` and `doctor` show it.

use serde_json::{Value, json};
use stsd_client::{Client, Condition, HttpListener, ListenerState, Problem};

/// Returns the state of the HTTP endpoint; `None` for a daemon that is older than the request, and at
/// the socket of a lease.
pub(crate) fn fetch(client: &Client) -> Option<HttpListener> {
    client.http_listener().ok()
}

/// Returns the problems that are not among the conditions, which only an administrator of the daemon
/// receives.
pub(crate) fn other_problems<'a>(
    listener: &'a HttpListener,
    conditions: &[Condition],
) -> impl Iterator<Item = &'a Problem> {
    let problems = listener.problems.iter();
    problems.filter(move |problem| conditions.iter().all(|it| it.message != problem.message))
}

/// Returns the list of listeners as JSON.
pub(crate) fn json(listener: &HttpListener) -> Value {
    let problem = |it: &Problem| json!({"message": it.message, "hint": it.hint});
    json!([{
        "name": stsd_metrics::HTTP_LISTENER,
        "address": listener.address,
        "state": state_name(listener.state),
        "holder_uid": listener.holder_uid,
        "problems": listener.problems.iter().map(problem).collect::<Vec<_>>(),
    }])
}

fn state_name(state: ListenerState) -> &'static str {
    match state {
        ListenerState::NotConfigured => "not_configured",
        ListenerState::Listening => "listening",
        ListenerState::Taken => "taken",
        _ => "failed",
    }
}
