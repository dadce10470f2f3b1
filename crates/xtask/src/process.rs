//! Child processes of the commands, and the directories of the workspace.

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The result of a command or a step; the error is one line for a person.
pub(crate) type Outcome = Result<(), String>;

/// Runs a command to its end; fails with the command line unless its exit code is 0.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let shown = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .map_err(|error| format!("{shown} does not start: {error}"))?;
    if status.success() {
        return Ok(());
    }
    let arguments: Vec<_> = command.get_args().map(|it| it.to_string_lossy()).collect();
    Err(format!("{shown} {}: {status}", arguments.join(" ")))
}

/// Runs a command and returns its standard output; fails with its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output();
    let output = output.map_err(|error| format!("{program} does not start: {error}"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program}: {}: {}", output.status, reason.trim()));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{program} printed no text"))
}

/// Returns `true` if a command starts and ends with exit code 0. Its output is discarded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Prints a line to standard output.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints the heading of a step.
pub(crate) fn heading(name: &str) {
    say(&format!("\n== {name}"));
}

/// Runs cargo with arguments in the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Outcome {
    run(&mut cargo_command(arguments))
}

/// Builds all programs for the stories. With a test among the targets, cargo gives each dependency
/// the features that it has in the tests: without, it would compile most of them twice.
pub(crate) fn build_programs() -> Outcome {
    let targets = ["--workspace", "--bins", "--test", "stories"];
    cargo(&[&["build", "--locked", "--quiet"], &targets[..]].concat())
}

/// Returns the command of cargo with arguments in the workspace, not yet started. A package
/// that is named in the arguments is looked up from there.
pub(crate) fn cargo_command(arguments: &[&str]) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(root());
    command
}

/// Returns the command of cargo of the nightly toolchain, where rustup has one.
pub(crate) fn nightly_command(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.arg("+nightly").args(arguments).current_dir(root());
    // `cargo xtask` runs in the environment of its own toolchain, which would win.
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    command
}

/// Returns `PATH` with a directory in front.
pub(crate) fn path_with(directory: &Path) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = [directory.to_owned()].into_iter();
    let directories = directories.chain(env::split_paths(&path));
    env::join_paths(directories).unwrap_or(path)
}

/// Returns the directory of the workspace.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

/// Returns cargo's target directory.
pub(crate) fn target() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root().join(target.unwrap_or_else(|| "target".into()))
}
