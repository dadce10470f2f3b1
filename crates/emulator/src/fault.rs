//! Scripted faults.

pub mod script;
