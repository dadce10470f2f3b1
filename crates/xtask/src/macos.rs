//! The programs and the library that are of use on a laptop with macOS, whose daemon runs elsewhere: they
//! are compiled, and never run here.

use crate::{
    notes::Notes,
    process::{Outcome, cargo},
    rust_target,
};

const TARGETS: [&str; 2] = ["aarch64-apple-darwin", "x86_64-apple-darwin"];

/// Checks shim, stsctl and the client library, with all its features, for each target of macOS.
pub(crate) fn check(notes: &mut Notes) -> Outcome {
    for target in TARGETS {
        if let Err(reason) = rust_target::ensure(target) {
            notes.not_run(format!("the check for {target}: {reason}"));
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
