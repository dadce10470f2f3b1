//! Refresh: one task for each profile, which obtains its sessions and publishes them.

mod acquire;
mod outage;
pub mod schedule;
mod sts_call;
pub mod supervisor;
pub mod task;
