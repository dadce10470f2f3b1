//! Names and limits of profiles and role sessions, as types that hold only values that STS accepts.
//! The daemon reads its configuration with them, and `stsctl` checks what it writes there.
//!
//! Without I/O. The limits are those of the public API metadata of STS 2015-04-01.

mod duration;
mod invalid;
mod profile_name;
mod role;
mod session_name;
mod session_policy;

pub use self::{
    duration::{SessionDuration, parse_duration},
    invalid::Invalid,
    profile_name::ProfileName,
    role::{RoleArn, external_id, provider_arn, role_name},
    session_name::{NameParts, RoleSessionName, source_identity},
    session_policy::SessionPolicy,
};
