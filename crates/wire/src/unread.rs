//! Empty types in place of `control` for programs that never send its requests: such a reply
//! cannot be decoded, and the code that would decode it is not linked.

use serde::{Deserialize, Serialize};

/// The state of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {}

/// The URL of a profile's credentials at the HTTP endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Url {}

/// The conditions of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Conditions {}

/// The last callers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audit {}

/// The state of the HTTP endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpListener {}

/// The metrics of the daemon that its status has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metrics {}
