//! Scripted faults: their JSON, and the queue of those that are in force.

pub(crate) mod queue;
pub(crate) mod script;
