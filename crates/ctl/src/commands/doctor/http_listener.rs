//! The HTTP endpoint: not configured, listening, or not bound.

use stsd_client::{Condition, HttpListener, ListenerState};

use crate::{
    http_listener::other_problems,
    report::{Finding, Severity},
};

const SUBJECT: &str = "HTTP endpoint";

/// Returns a finding for each problem that is not among the conditions, or the state of an endpoint
/// without a problem.
pub(super) fn check(listener: &HttpListener, conditions: &[Condition]) -> Vec<Finding> {
    let severity = match listener.state {
        ListenerState::NotConfigured | ListenerState::Listening => Severity::Warning,
        _ => Severity::Fault,
    };
    if listener.problems.is_empty() {
        let remark = match &listener.address {
            Some(address) => format!("listens at {address}"),
            None => "not configured: no program gets a URL".to_owned(),
        };
        return vec![Finding::ok(SUBJECT, remark)];
    }
    let problems = other_problems(listener, conditions);
    problems
        .map(|it| Finding::of(severity, SUBJECT, &it.message, &it.hint))
        .collect()
}
