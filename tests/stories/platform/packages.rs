//! The packages: installation, issue, upgrade, removal, and their content. They contain the programs of
//! the gate, or are the release that `cargo xtask dist` has built: the full gate runs the stories of
//! the tarball and of the image with both.

mod content;
mod deb;
mod image;
mod machine;
mod rpm;
mod tarball;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use e2e::{TestEnv, UPLOAD, not_run, program};
use serde_json::Value;

/// The variable with the directory of a release, which `cargo xtask test --full` sets.
const RELEASE_DIRECTORY: &str = "STSD_TEST_PACKAGES";

/// Packs the gate's programs; returns `None`, and reports it, where a tool is missing.
fn pack(into: &Path, version: &str, formats: &[&str]) -> Option<PathBuf> {
    for tool in ["dpkg-deb", "tar", "gzip", "python3"] {
        if Command::new(tool).arg("--version").output().is_err() {
            not_run(&format!("{tool} does not start"));
            return None;
        }
    }
    let programs = program("stsd").parent().unwrap().to_owned();
    let mut xtask = Command::new(program("xtask"));
    xtask.arg("dist").arg("--from").arg(programs);
    xtask.arg("--into").arg(into).args(["--version", version]);
    run(xtask.args(formats));
    Some(into.to_owned())
}

/// Returns the directory of the release that is under test; `None` for the programs of the gate.
fn release() -> Option<PathBuf> {
    env::var_os(RELEASE_DIRECTORY).map(PathBuf::from)
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", all(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn all(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn the_one(directory: &Path, extension: &str) -> PathBuf {
    let entries = fs::read_dir(directory).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let found = paths.find(|path| path.to_string_lossy().ends_with(extension));
    found.unwrap_or_else(|| panic!("no {extension} in {}", directory.display()))
}

/// Starts the installed daemon, and asks for credentials with the installed shim.
fn issue(programs: &Path) {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    env.start_daemon_with(env.daemon_command_at(&programs.join("stsd")));
    let mut shim = Command::new(programs.join("sts-shim"));
    let document = run(shim.arg("--socket").arg(env.socket()).arg("oss-upload"));
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["Code"], "Success");
}
