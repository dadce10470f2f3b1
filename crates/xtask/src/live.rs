//! The real cloud, once: the program `stsd-live` of the tests.

use std::process::Command;

use crate::process::{Outcome, cargo_command, run, target};

/// The programs that a run starts.
const PROGRAMS: [&str; 4] = ["stsd", "sts-shim", "stsctl", "stsd-live"];

/// Builds the programs, and makes the steps with the file of a user, or prints an example of the file.
pub(crate) fn live(argument: &str) -> Outcome {
    let mut build = cargo_command(&["build", "--locked", "--quiet", "--workspace"]);
    for program in PROGRAMS {
        build.args(["--bin", program]);
    }
    run(&mut build)?;
    run(Command::new(target().join("debug/stsd-live")).arg(argument))
}
