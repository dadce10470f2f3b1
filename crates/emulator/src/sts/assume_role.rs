//! `AssumeRole`: may this caller assume that role, for that long?

use std::time::Duration;

use serde_json::Value;

use crate::{
    account::model::{Principal, Role},
    http::request::Parameters,
    state::{Cloud, Now},
    sts::{
        error::StsError,
        issue::{Twist, issue},
        request::Wish,
        service::Caller,
    },
};

pub(crate) fn run(
    cloud: &Cloud,
    caller: &Caller,
    parameters: &Parameters,
    now: Now,
    twist: Twist,
) -> Result<Value, StsError> {
    let wish = Wish::read(parameters)?;
    let role = wish.role(&cloud.world)?;
    check_length(cloud, caller, role, wish.seconds)?;
    check_trust(caller, role, wish.external_id.as_deref())?;
    Ok(issue(cloud, role, wish, now, twist))
}

fn check_length(cloud: &Cloud, caller: &Caller, role: &Role, seconds: u64) -> Result<(), StsError> {
    let chained = matches!(caller, Caller::Session(_));
    let longest = if chained && cloud.world.chained_session_cap {
        role.max_session.min(Duration::from_secs(3600))
    } else {
        role.max_session
    };
    if Duration::from_secs(seconds) > longest {
        return Err(StsError::DurationSeconds);
    }
    Ok(())
}

fn check_trust(caller: &Caller, role: &Role, external_id: Option<&str>) -> Result<(), StsError> {
    let caller = match caller {
        Caller::User(name) => Principal::User(name.clone()),
        Caller::Session(session) => Principal::Role(session.role.clone()),
    };
    let known_outside = role.external_id.is_none() || role.external_id.as_deref() == external_id;
    if role.trusts.contains(&caller) && known_outside {
        Ok(())
    } else {
        Err(StsError::NoPermission)
    }
}
