//! Stands in for what a daemon tells of itself in a program that never asks for it: such an
//! answer cannot be read, and nothing that would read it is carried along.

use serde::{Deserialize, Serialize};

/// What the daemon is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {}

/// Where a profile's credentials are had over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Url {}

/// Who asked last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audit {}
