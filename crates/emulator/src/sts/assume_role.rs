//! `AssumeRole`, for the key of a RAM user or for a session.

use std::time::Duration;

use serde_json::Value;

use crate::{
    account::model::{Principal, Role},
    clock::RequestTime,
    fault::script::CredentialFault,
    http::request::Parameters,
    state::EmulatorState,
    sts::{caller::Caller, error::StsError, issue::issue_role_session, request::AssumeRoleRequest},
};

/// Maximum lifetime of a session of a role chain, with `chained_session_cap`.
const MAX_CHAINED_SESSION: Duration = Duration::from_secs(3600);

/// Returns the reply for a caller.
pub(crate) fn run(
    state: &EmulatorState,
    caller: &Caller,
    parameters: &Parameters,
    now: RequestTime,
    fault: Option<CredentialFault>,
) -> Result<Value, StsError> {
    let request = AssumeRoleRequest::parse(parameters)?;
    let role = request.find_role(&state.account)?;
    check_duration(state, caller, role, request.duration_seconds)?;
    check_trust(caller, role, request.external_id.as_deref())?;
    Ok(issue_role_session(state, role, request, now, fault))
}

fn check_duration(
    state: &EmulatorState,
    caller: &Caller,
    role: &Role,
    duration_seconds: u64,
) -> Result<(), StsError> {
    let is_chained = matches!(caller, Caller::Session(_));
    let max_duration = if is_chained && state.account.chained_session_cap {
        role.max_session.min(MAX_CHAINED_SESSION)
    } else {
        role.max_session
    };
    if Duration::from_secs(duration_seconds) > max_duration {
        return Err(StsError::DurationSeconds);
    }
    Ok(())
}

fn check_trust(caller: &Caller, role: &Role, external_id: Option<&str>) -> Result<(), StsError> {
    let principal = match caller {
        Caller::User(name) => Principal::User(name.clone()),
        Caller::Session(session) => Principal::Role(session.role.clone()),
    };
    let is_external_id_valid =
        role.external_id.is_none() || role.external_id.as_deref() == external_id;
    if role.trusts.contains(&principal) && is_external_id_valid {
        Ok(())
    } else {
        Err(StsError::NoPermission)
    }
}
