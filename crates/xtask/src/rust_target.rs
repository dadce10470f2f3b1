//! Rust's libraries for other targets than that of this machine.

use std::{path::Path, process::Command};

use crate::process::{Outcome, output, run, say};

/// Installs the library for a target, unless it is installed.
///
/// # Errors
///
/// The command that has failed.
pub(crate) fn ensure(triple: &str) -> Outcome {
    let libraries = ["--print", "target-libdir", "--target", triple];
    let libraries = output(Command::new("rustc").args(libraries))?;
    if Path::new(libraries.trim()).exists() {
        return Ok(());
    }
    say(&format!("installing Rust's library for {triple}"));
    run(Command::new("rustup").args(["target", "add", triple]))
}
