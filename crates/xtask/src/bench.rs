//! The build of the measured programs: as they are released, with a static shim if the toolchain for
//! it is installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    dist::{
        Architecture,
        build::{SHIM, check_toolchain, command},
    },
    process::{Outcome, cargo_command, root, run, say, target},
};

/// The extent of the measurements.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All measurements.
    Full,
    /// All measurements, and an update of the documentation.
    Documentation,
    /// All measurements, in less than two minutes.
    Quick,
    /// The counts, which do not depend on the machine's load, against their budget.
    Budget,
}

/// Measures the costs of the programs.
pub(crate) fn measure(scope: Scope) -> Outcome {
    if let Some(reason) = bench(scope)? {
        say(&format!("NOT RUN: the static shim: {reason}"));
    }
    Ok(())
}

/// Builds and measures; returns the reason for which the shim is not the static one, or `None`.
pub(crate) fn bench(scope: Scope) -> Result<Option<String>, String> {
    let host = Architecture::host();
    let obstacle = host.and_then(|host| check_toolchain(&[host])).err();
    let musl = obstacle.is_none().then_some("musl");
    let folder = ProgramsFolder::new(if scope == Scope::Budget {
        "counted"
    } else {
        "programs"
    })?;
    folder.build("sts-shim", SHIM, musl, "sts-shim")?;
    let bench = match scope {
        Scope::Budget => build_for_budget(&folder)?,
        _ => build_all(&folder, musl)?,
    };
    let mut command = Command::new(bench);
    command.arg("--programs").arg(&folder.0);
    if obstacle.is_some() {
        command.arg("--dynamic-shim");
    }
    let out = target().join("bench");
    if python().exists() {
        command.arg("--python").arg(python());
    }
    match scope {
        Scope::Full => command.arg("--out").arg(&out),
        Scope::Documentation => command.arg("--docs").arg(root().join("docs")),
        Scope::Quick => command.arg("--out").arg(&out).arg("--quick"),
        Scope::Budget => command.arg("--budget"),
    };
    run(&mut command)?;
    if matches!(scope, Scope::Full | Scope::Quick) {
        say(&format!("written: {}/bench.{{json,md}}", out.display()));
    }
    Ok(obstacle)
}

fn python() -> PathBuf {
    target().join("clients/python/bin/python")
}

/// Builds the counted programs as they are released, and the others as debug builds.
fn build_for_budget(folder: &ProgramsFolder) -> Result<PathBuf, String> {
    folder.build("stsd", "release", Some("gnu"), "stsd")?;
    folder.build("stsd-emulator", "dev", None, "stsd-emulator")?;
    folder.build("stsd-bench", "dev", None, "stsd-bench")?;
    Ok(folder.0.join("stsd-bench"))
}

fn build_all(folder: &ProgramsFolder, musl: Option<&str>) -> Result<PathBuf, String> {
    folder.build("stsd", "release", Some("gnu"), "stsd")?;
    folder.build("stsd-emulator", "release", None, "stsd-emulator")?;
    match musl {
        Some(_) => folder.build("stsd", "release", musl, "stsd-musl")?,
        // A program of an earlier run would otherwise be measured.
        None => drop(fs::remove_file(folder.0.join("stsd-musl"))),
    }
    let mut example = cargo_command(&["build", "--locked", "--release"]);
    example.args(["--package", "stsd-client", "--features", "tokio"]);
    run(example.args(["--example", "read_cost"]))?;
    let example = target().join("release/examples/read_cost");
    copy(&example, &folder.0.join("read_cost"))?;
    folder.build("stsd-bench", "release", None, "stsd-bench")?;
    Ok(folder.0.join("stsd-bench"))
}

/// The folder of the measured programs.
struct ProgramsFolder(PathBuf);

impl ProgramsFolder {
    fn new(name: &str) -> Result<Self, String> {
        let folder = target().join("bench").join(name);
        let made = fs::create_dir_all(&folder);
        made.map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self(folder))
    }

    /// Builds a package, as it is released if a C library is named, and copies its program under a
    /// name.
    fn build(&self, package: &str, profile: &str, library: Option<&str>, name: &str) -> Outcome {
        let mut built = target();
        let mut cargo = match library {
            Some(library) => {
                let host = Architecture::host()?;
                built.push(host.triple(library));
                command(&root(), package, profile, host, library)
            }
            None => {
                let mut cargo = cargo_command(&["build", "--locked", "--package", package]);
                cargo.args(["--profile", profile]);
                cargo
            }
        };
        run(&mut cargo)?;
        built.push(if profile == "dev" { "debug" } else { profile });
        copy(&built.join(package), &self.0.join(name))
    }
}

fn copy(from: &Path, to: &Path) -> Outcome {
    // The file of a running program cannot be overwritten.
    let _ = fs::remove_file(to);
    let copied = fs::copy(from, to).map(drop);
    copied.map_err(|error| format!("{}: {error}", from.display()))
}
