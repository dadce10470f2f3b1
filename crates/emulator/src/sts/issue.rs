//! Issuing a role session, for each action of STS and for the metadata service.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    account::model::Role,
    clock::{RequestTime, saturating_add},
    fault::script::CredentialFault,
    state::{
        EmulatorState,
        sessions::{Credentials, NewSession},
    },
    sts::request::AssumeRoleRequest,
    sync::lock,
};

/// Issues a session for `lifetime`, or for the shorter lifetime of `--session-life`.
pub(crate) fn issue_session(
    state: &EmulatorState,
    session: NewSession<'_>,
    lifetime: Duration,
    now: RequestTime,
    fault: Option<CredentialFault>,
) -> Credentials {
    let lifetime = SignedDuration::try_from(state.cap_lifetime(lifetime))
        .unwrap_or(SignedDuration::from_hours(1));
    let expiration = match fault {
        Some(CredentialFault::Expired) => saturating_add(now.actual, -SignedDuration::from_mins(1)),
        _ => saturating_add(now.actual, lifetime),
    };
    lock(&state.sessions).issue(session, expiration, now.actual)
}

/// Issues the requested session, and returns the fields that the replies of all three actions
/// have.
pub(crate) fn issue_role_session(
    state: &EmulatorState,
    role: &Role,
    request: AssumeRoleRequest,
    now: RequestTime,
    fault: Option<CredentialFault>,
) -> Value {
    let session = NewSession {
        role: &request.role,
        name: &request.session_name,
        policy: request.policy,
        source_identity: request.source_identity.clone(),
    };
    let lifetime = Duration::from_secs(request.duration_seconds);
    let credentials = issue_session(state, session, lifetime, now, fault);
    let mut reply = json!({
        "AssumedRoleUser": {
            "AssumedRoleId": format!("{}:{}", role.id, request.session_name),
            "Arn": format!(
                "acs:ram::{}:role/{}/{}",
                state.account.id, request.role, request.session_name
            ),
        },
        "Credentials": credentials.to_json(now, fault),
    });
    if let Some(identity) = request.source_identity {
        reply["SourceIdentity"] = Value::String(identity);
    }
    reply
}
