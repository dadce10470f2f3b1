//! The checks under a real systemd, run by `tests/systemd/run.sh`. Checks that cannot run, because
//! systemd cannot be booted, are reported as NOT RUN: no failure and no success.

#[cfg(test)]
mod unit_keys;

use std::process::Command;

use crate::{
    dist::{self, Architecture},
    notes::Notes,
    process::{Outcome, build_programs, root, say, target},
};

/// The extent of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The systemd of this machine, in less than two minutes.
    Gate,
    /// All available versions, longer stories, and a suspended machine.
    Full,
}

/// The part of the checks that were run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// All checks were run, and passed.
    Full,
    /// No check failed, and some were not run. The script has printed them with their reasons.
    Partial,
}

/// The exit code of skipped tests, as in automake.
const NOT_RUN_EXIT_CODE: i32 = 77;

/// Runs the checks as a step of the gate, with the built programs.
pub(crate) fn step(notes: &mut Notes, scope: Scope) -> Outcome {
    if run(scope)? == Coverage::Partial {
        notes.not_run("systemd: see the lines above that begin with NOT RUN");
    }
    Ok(())
}

/// Builds the programs and runs the checks.
pub(crate) fn command(scope: Scope) -> Outcome {
    build_programs()?;
    match run(scope)? {
        Coverage::Full => say("\nxtask: everything passed"),
        Coverage::Partial => say("\nxtask: everything that was run passed; see NOT RUN above"),
    }
    Ok(())
}

fn run(scope: Scope) -> Result<Coverage, String> {
    let work = target().join("systemd");
    let mut command = Command::new("bash");
    command.arg(root().join("tests/systemd/run.sh"));
    command.arg("--programs").arg(target().join("debug"));
    command.arg("--work").arg(&work);
    if scope == Scope::Full {
        command.arg("--full");
        match Architecture::host().and_then(dist::build_first) {
            Ok(programs) => {
                command.arg("--static").arg(programs.all);
            }
            Err(reason) => say(&format!("no static programs: {reason}")),
        }
    }
    let status = match command.status() {
        Ok(status) => status,
        Err(error) => {
            say(&format!("NOT RUN: systemd: bash does not start: {error}"));
            return Ok(Coverage::Partial);
        }
    };
    match status.code() {
        Some(0) => Ok(Coverage::Full),
        Some(NOT_RUN_EXIT_CODE) => Ok(Coverage::Partial),
        _ => Err(format!(
            "the checks under systemd failed ({status}); their logs are in {}",
            work.display()
        )),
    }
}
