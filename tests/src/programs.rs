//! The programs that stories run: those of the project, the examples, the official SDKs.

use std::{env, path::PathBuf};

use crate::not_run;

/// The variable with a directory of programs that are run instead: those of another architecture.
const PROGRAMS_DIRECTORY: &str = "STSD_TEST_PROGRAMS";

/// Returns the path of a program of the project, built beside the stories.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    if let Some(directory) = env::var_os(PROGRAMS_DIRECTORY) {
        let program = PathBuf::from(directory).join(name);
        if program.exists() {
            return program;
        }
    }
    let this = env::current_exe().unwrap();
    // A test is in `deps` below the directory of the programs, and a program of the kit beside them.
    let directory = this.ancestors().skip(1).find(|it| !it.ends_with("deps"));
    let program = directory.unwrap().join(name);
    assert!(
        program.exists(),
        "{} is missing: run `cargo build --workspace --bins` first, or `cargo xtask test`",
        program.display()
    );
    program
}

/// Returns the path of an example of `examples/rust`, which `cargo xtask test` builds.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn rust_example(name: &str) -> PathBuf {
    let program = beside_the_test(3).join("examples-rust/debug").join(name);
    assert!(
        program.exists(),
        "{} is missing: run `cargo xtask test`, which builds it",
        program.display()
    );
    program
}

/// Returns the daemon, the shim and stsctl of release 0.1.0; `None`, with a report, where the full gate
/// has not built them.
#[must_use]
pub fn old_programs() -> Option<[PathBuf; 3]> {
    let directory = beside_the_test(3).join("release-0.1.0/debug");
    let programs = ["stsd", "sts-shim", "stsctl"].map(|name| directory.join(name));
    if programs.iter().all(|it| it.exists()) {
        return Some(programs);
    }
    not_run("the programs of release 0.1.0 are not built: cargo xtask e2e old_release");
    None
}

/// Returns the directory in which `cargo xtask test` installs the official SDKs.
///
/// # Panics
/// When it does not exist.
#[must_use]
pub fn clients() -> PathBuf {
    let clients = beside_the_test(3).join("clients");
    assert!(
        clients.exists(),
        "the official SDKs are not in {}: run `cargo xtask test`, which installs them",
        clients.display()
    );
    clients
}

/// Returns the directory with the interpreter and the programs of the data tools; `None`, with a report,
/// where the full gate has not installed them.
#[must_use]
pub fn data_tools() -> Option<PathBuf> {
    let programs = clients().join("data-tools/bin");
    if programs.join("aws").exists() {
        return Some(programs);
    }
    not_run("the data tools are not installed: cargo xtask e2e data_tools");
    None
}

/// Returns promtool of Prometheus, from the path or from the place where the gate has unpacked it; `None`,
/// with a report, where there is none.
#[must_use]
pub fn promtool() -> Option<PathBuf> {
    let unpacked = beside_the_test(3).join("tools/promtool/usr/bin/promtool");
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|it| it.join("promtool"));
    let found = on_path.chain([unpacked]).find(|it| it.exists());
    if found.is_none() {
        not_run(
            "promtool is not installed; cargo xtask e2e unpacks it where apt-get can load Debian's prometheus",
        );
    }
    found
}

/// Returns the directory that many levels above this test program.
fn beside_the_test(levels: usize) -> PathBuf {
    let test = env::current_exe().unwrap();
    test.ancestors().nth(levels).unwrap().to_owned()
}
