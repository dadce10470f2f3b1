//! The programs and the library that are of use on a laptop with macOS, whose daemon runs elsewhere: they
//! are compiled, and never run here.

use std::process::Command;

use crate::{
    notes::Notes,
    process::{Outcome, cargo, output, root},
};

const TARGETS: [&str; 2] = ["aarch64-apple-darwin", "x86_64-apple-darwin"];

/// Checks shim, stsctl and the client library, with all its features, for each target of macOS.
pub(crate) fn check(notes: &mut Notes) -> Outcome {
    let mut rustup = Command::new("rustup");
    let installed = output(
        rustup
            .args(["target", "list", "--installed"])
            .current_dir(root()),
    );
    let installed = installed.unwrap_or_default();
    for target in TARGETS {
        if !installed.lines().any(|it| it == target) {
            notes.not_run(format!(
                "the check for {target}, which is not installed: rustup target add {target}"
            ));
            continue;
        }
        cargo(&[
            "check",
            "--locked",
            "--quiet",
            "--target",
            target,
            "--package=sts-shim",
            "--package=stsctl",
            "--package=stsd-client",
            "--features=stsd-client/aws,stsd-client/lease",
        ])?;
    }
    notes.not_run("the programs for macOS: there is no machine with macOS here");
    Ok(())
}
