//! `GetCallerIdentity`, which needs no permission.

use serde_json::{Value, json};

use crate::{state::EmulatorState, sts::caller::Caller};

/// Returns the reply for a caller.
pub(crate) fn run(state: &EmulatorState, caller: &Caller) -> Value {
    let account = &state.account.id;
    match caller {
        Caller::User(name) => {
            let id = state.account.users.get(name).map_or("", |user| &user.id);
            json!({
                "AccountId": account,
                "Arn": format!("acs:ram::{account}:user/{name}"),
                "IdentityType": "RAMUser",
                "PrincipalId": id,
                "UserId": id,
            })
        }
        Caller::Session(session) => {
            let role = &session.role;
            let id = state.account.roles.get(role).map_or("", |role| &role.id);
            let mut body = json!({
                "AccountId": account,
                "Arn": format!("acs:ram::{account}:assumed-role/{role}/{}", session.name),
                "IdentityType": "AssumedRoleUser",
                "PrincipalId": format!("{id}:{}", session.name),
                "RoleId": id,
            });
            if let Some(identity) = &session.source_identity {
                body["SourceIdentity"] = Value::String(identity.clone());
            }
            body
        }
    }
}
