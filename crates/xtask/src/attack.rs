//! Attacks on a system daemon: the program `stsd-attack` of the tests.

use std::process::Command;

use crate::process::{Outcome, build_programs, run, target};

/// Builds the programs, and runs the attacks against them.
pub(crate) fn run_attacks(names: &[&str]) -> Outcome {
    build_programs()?;
    run(Command::new(target().join("debug/stsd-attack")).args(names))
}
