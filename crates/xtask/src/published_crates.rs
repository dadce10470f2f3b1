//! The crates that are published: the client library, the crates that it needs, and two beside it.

use crate::{
    notes::Notes,
    process::{Outcome, cargo},
};

/// Packs the crates as `cargo publish` does, and builds each from its package. `cargo publish --dry-run`
/// does the same and downloads the index of crates.io.
pub(crate) fn check(notes: &mut Notes) -> Outcome {
    cargo(&[
        "package",
        "--locked",
        "--offline",
        "--quiet",
        // A run of the gate may have changes.
        "--allow-dirty",
        "--package=stsd-client",
        "--package=stsd-wire",
        "--package=stsd-secret",
        "--package=stsd-model",
        "--package=stsd-codes",
    ])?;
    notes.not_run(
        "cargo-semver-checks of the published crates: no version is on crates.io yet to compare with",
    );
    Ok(())
}
