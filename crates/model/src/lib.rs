//! Names and limits of profiles and role sessions, as types that hold only values that STS accepts.
//! The daemon reads its configuration with them, and `stsctl` checks what it writes there.
//!
//! Without I/O. The limits of STS are those of its public API metadata, version 2015-04-01.

mod access_key;
mod duration;
mod fragments;
mod invalid;
mod profile_name;
mod region;
mod role;
mod session_name;
mod session_policy;

pub use self::{
    access_key::is_access_key_id,
    duration::{SessionDuration, exact_duration, format_duration, parse_duration},
    fragments::{fragment_directory, is_fragment_name},
    invalid::Invalid,
    profile_name::ProfileName,
    region::region,
    role::{RoleArn, external_id, provider_arn, role_name},
    session_name::{NameParts, RoleSessionName, source_identity},
    session_policy::SessionPolicy,
};

/// Maximum number of profiles in a role chain. Each adds a call to the wait of a first caller.
pub const MAX_CHAIN_PROFILES: usize = 8;
