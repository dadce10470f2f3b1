//! The programs of the last release, built from its commit: stories replace its daemon, and let the old
//! and the new programs work with each other.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::process::{Outcome, output, root, run, target};

/// The commit of release 0.1.0.
const COMMIT: &str = "c931cd5e6b6aa23562c08d1903195eaca1e8d651";

/// The directory below target/, which `tests/src/programs.rs` names too.
const DIRECTORY: &str = "release-0.1.0";

/// Builds the programs of release 0.1.0 in target/release-0.1.0.
///
/// # Errors
/// The commit is missing, as in a shallow clone, or the build fails.
pub(crate) fn build() -> Outcome {
    let directory = target().join(DIRECTORY);
    let (archive, source) = (directory.join("source.tar"), directory.join("source"));
    fs::create_dir_all(&source).map_err(|error| format!("{}: {error}", source.display()))?;
    let mut git = Command::new("git");
    git.args(["archive", "--output"]).arg(&archive).arg(COMMIT);
    output(git.current_dir(root()))?;
    // tar keeps the time of the commit, so that cargo builds the files once.
    run(Command::new("tar")
        .arg("--extract")
        .arg("--file")
        .arg(&archive)
        .arg("--directory")
        .arg(&source))?;
    let mut build = Command::new("cargo");
    build.args(["build", "--quiet", "--locked", "--target-dir"]);
    build.arg(&directory);
    for package in ["stsd", "sts-shim", "stsctl"] {
        build.args(["--package", package]);
    }
    run(build.current_dir(source).stderr(Stdio::inherit()))
}
