//! Formatting: rustfmt for everything, and the import style, which only nightly's rustfmt knows.

use crate::{
    notes::Notes,
    process::{Outcome, cargo_command, nightly_command, run, say, succeeds},
};

/// The manifests of all workspaces here: the product, the fuzz targets, the examples.
const MANIFESTS: [&str; 3] = ["Cargo.toml", "fuzz/Cargo.toml", "examples/rust/Cargo.toml"];

/// Not in rustfmt.toml, because the stable rustfmt warns about them.
const IMPORT_STYLE: [&str; 3] = [
    "--",
    "--config",
    "imports_granularity=Crate,group_imports=StdExternalCrate",
];

/// Fails when a file is formatted in another way.
pub(crate) fn check(notes: &mut Notes) -> Outcome {
    if has_nightly() {
        return each(|manifest| {
            let check = ["fmt", "--all", "--check", "--manifest-path", manifest];
            run(&mut nightly_command(&[&check[..], &IMPORT_STYLE].concat()))
        })
        .map_err(|error| format!("{error}; `cargo xtask fmt` formats everything"));
    }
    notes.not_run(
        "the import style, which needs nightly's rustfmt: \
         `rustup toolchain install nightly --profile minimal --component rustfmt`",
    );
    each(|manifest| {
        let check = ["fmt", "--all", "--check", "--manifest-path", manifest];
        run(&mut cargo_command(&check))
    })
}

/// Formats every file.
pub(crate) fn apply() -> Outcome {
    if has_nightly() {
        return each(|manifest| {
            let format = ["fmt", "--all", "--manifest-path", manifest];
            run(&mut nightly_command(&[&format[..], &IMPORT_STYLE].concat()))
        });
    }
    say("NOT RUN: the import style, which needs nightly's rustfmt");
    each(|manifest| {
        run(&mut cargo_command(&[
            "fmt",
            "--all",
            "--manifest-path",
            manifest,
        ]))
    })
}

fn has_nightly() -> bool {
    succeeds(&mut nightly_command(&["fmt", "--version"]))
}

fn each(format: impl Fn(&str) -> Outcome) -> Outcome {
    MANIFESTS.iter().try_for_each(|manifest| format(manifest))
}
