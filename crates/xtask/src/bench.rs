//! Decides which programs are measured, and how they are built: as they are given away, the
//! shim static where this machine has what that takes.

use std::{fs, path::{Path, PathBuf}, process::Command};

use crate::{
    dist,
    packages,
    steps::{Outcome, cargo_command, root, run, say, target},
};

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Everything.
    Full,
    /// Everything, into the documentation as well.
    Documentation,
    /// Everything, in under two minutes.
    Quick,
    /// What does not depend on the machine's load, against its budget.
    Budget,
}

/// Returns what could not be built.
pub(crate) fn bench(depth: Depth) -> Result<Option<String>, String> {
    let folder = target().join("bench/programs");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let obstacle = match dist::ready() {
        Ok(()) => None,
        Err(obstacle) => Some(obstacle),
    };
    let musl = dist::triple("musl");
    let musl = obstacle.is_none().then_some(musl.as_str());
    build(&folder, "sts-shim", "shim", musl, "sts-shim")?;
    build(&folder, "stsd", "release", None, "stsd")?;
    build(&folder, "stsd-emulator", "release", None, "stsd-emulator")?;
    if depth != Depth::Budget {
        let musl_daemon = folder.join("stsd-musl");
        match musl {
            Some(_) => build(&folder, "stsd", "release", musl, "stsd-musl")?,
            // One from another day would be measured.
            None => drop(fs::remove_file(musl_daemon)),
        }
        let mut example = cargo_command(&["build", "--locked", "--release"]);
        example.args(["--package", "stsd-client", "--features", "tokio"]);
        run(example.args(["--example", "read_cost"]))?;
        copy(&target().join("release/examples/read_cost"), &folder.join("read_cost"))?;
    }
    run(&mut cargo_command(&["build", "--locked", "--release", "--package", "stsd-bench"]))?;
    let mut command = Command::new(target().join("release/stsd-bench"));
    command.arg("--programs").arg(&folder).arg("--out").arg(target().join("bench"));
    let python = target().join("clients/python/bin/python");
    if python.exists() {
        command.arg("--python").arg(python);
    }
    match depth {
        Depth::Full => &mut command,
        Depth::Documentation => command.arg("--docs").arg(root().join("docs")),
        Depth::Quick => command.arg("--quick"),
        Depth::Budget => command.arg("--budget"),
    };
    run(&mut command)?;
    if depth != Depth::Budget {
        say(&format!("written: {}/bench.{{json,svg,md}}", target().join("bench").display()));
    }
    Ok(obstacle)
}

fn build(folder: &Path, package: &str, profile: &str, triple: Option<&str>, name: &str) -> Outcome {
    let mut cargo = cargo_command(&["build", "--locked", "--package", package]);
    cargo.args(["--profile", profile]);
    let mut built: PathBuf = target();
    if let Some(triple) = triple {
        cargo.args(["--target", triple]);
        built.push(triple);
    }
    run(&mut cargo)?;
    copy(&built.join(profile).join(package), &folder.join(name))
}

fn copy(from: &Path, to: &Path) -> Outcome {
    // A program that still runs cannot be written over.
    let _ = fs::remove_file(to);
    let copied = fs::copy(from, to).map(drop);
    copied.map_err(|error| format!("{}: {error}", from.display()))
}
