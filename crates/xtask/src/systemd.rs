//! The checks under a real systemd, which `tests/systemd/run.sh` runs. Their outcome is passed,
//! failed, or NOT RUN on a machine that cannot boot a systemd.

use std::process::Command;

use crate::{
    gate::Notes,
    process::{Outcome, cargo, root, say, target},
};

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// This machine's systemd, in less than two minutes.
    Gate,
    /// Every version that can be had, longer stories, and a machine that sleeps.
    Full,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Everything was run, and passed.
    All,
    /// Nothing failed, and something was not run; it has been said what and why.
    NotAll,
}

/// The exit code for "not run", as test harnesses have it.
const NOT_RUN: i32 = 77;

/// Runs the checks as a step of the gate, with the programs that are built.
pub(crate) fn step(notes: &mut Notes, depth: Depth) -> Outcome {
    if run(depth)? == Told::NotAll {
        notes.not_run("systemd: see the lines above that begin with NOT RUN");
    }
    Ok(())
}

/// Builds the programs and runs the checks.
pub(crate) fn command(depth: Depth) -> Outcome {
    cargo(&["build", "--workspace", "--bins", "--locked"])?;
    match run(depth)? {
        Told::All => say("\nxtask: everything passed"),
        Told::NotAll => say("\nxtask: everything that was run passed; see NOT RUN above"),
    }
    Ok(())
}

fn run(depth: Depth) -> Result<Told, String> {
    let work = target().join("systemd");
    let mut command = Command::new("bash");
    command.arg(root().join("tests/systemd/run.sh"));
    command.arg("--programs").arg(target().join("debug"));
    command.arg("--work").arg(&work);
    if depth == Depth::Full {
        command.arg("--full");
    }
    let status = match command.status() {
        Ok(status) => status,
        Err(error) => {
            say(&format!("NOT RUN: systemd: bash does not start: {error}"));
            return Ok(Told::NotAll);
        }
    };
    match status.code() {
        Some(0) => Ok(Told::All),
        Some(NOT_RUN) => Ok(Told::NotAll),
        _ => Err(format!(
            "the checks under systemd failed ({status}); what it logged is in {}",
            work.display()
        )),
    }
}
