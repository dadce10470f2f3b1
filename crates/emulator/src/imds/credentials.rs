//! The credentials of the instance's role, and their replacement.

use jiff::SignedDuration;

use crate::{
    account::model::Instance,
    clock::{RequestTime, saturating_add},
    fault::script::CredentialFault,
    state::{EmulatorState, imds::InstanceCredentials, sessions::NewSession},
    sts::issue::issue_session,
    sync::lock,
};

/// The id of the instance, which is also the name of its sessions.
pub(crate) const INSTANCE_ID: &str = "i-emulated000000001";

/// Returns the current credentials, replaced if their expiration is near.
pub(crate) fn current(
    state: &EmulatorState,
    instance: &Instance,
    now: RequestTime,
) -> InstanceCredentials {
    // With a short `--session-life`, half of the lifetime.
    let lifetime = state.cap_lifetime(instance.credential_lifetime);
    let replaced_before_end = instance.replaced_before_end.min(lifetime / 2);
    let replaced_before_end =
        SignedDuration::try_from(replaced_before_end).unwrap_or(SignedDuration::ZERO);
    let current = lock(&state.imds).current();
    match current {
        Some(current)
            if saturating_add(current.credentials.expiration, -replaced_before_end)
                > now.actual =>
        {
            current
        }
        _ => replace(state, instance, now),
    }
}

/// Replaces the current credentials. The previous ones stay valid until their expiration.
pub(crate) fn replace(
    state: &EmulatorState,
    instance: &Instance,
    now: RequestTime,
) -> InstanceCredentials {
    let credentials = issue(state, instance, now, None);
    lock(&state.imds).set_current(credentials.clone());
    credentials
}

/// Issues credentials without replacing the current ones.
pub(crate) fn issue(
    state: &EmulatorState,
    instance: &Instance,
    now: RequestTime,
    fault: Option<CredentialFault>,
) -> InstanceCredentials {
    let session = NewSession {
        role: &instance.role,
        name: INSTANCE_ID,
        policy: None,
        source_identity: None,
    };
    InstanceCredentials {
        credentials: issue_session(state, session, instance.credential_lifetime, now, fault),
        issued: now.actual,
    }
}
