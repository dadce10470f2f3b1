//! The builds of the measured programs: as they are released, with a static shim where this machine
//! has the target for it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    dist::build::{SHIM, command, ready, triple},
    process::{Outcome, cargo_command, root, run, say, target},
};

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Everything.
    Full,
    /// Everything, into the documentation as well.
    Documentation,
    /// Everything, in less than two minutes.
    Quick,
    /// What does not depend on the machine's load, against its budget.
    Budget,
}

/// Measures what the programs cost.
pub(crate) fn measure(depth: Depth) -> Outcome {
    if let Some(reason) = bench(depth)? {
        say(&format!("NOT RUN: the static shim: {reason}"));
    }
    Ok(())
}

/// Returns why the shim is not the one that is given away, if it is not.
pub(crate) fn bench(depth: Depth) -> Result<Option<String>, String> {
    let obstacle = ready().err();
    let musl = obstacle.is_none().then(|| triple("musl"));
    let place = Place::new(if depth == Depth::Budget {
        "counted"
    } else {
        "programs"
    })?;
    place.build("sts-shim", SHIM, musl.as_deref(), "sts-shim")?;
    let bench = match depth {
        Depth::Budget => budget(&place)?,
        _ => everything(&place, musl.as_deref())?,
    };
    let mut command = Command::new(bench);
    command.arg("--programs").arg(&place.0);
    if obstacle.is_some() {
        command.arg("--dynamic-shim");
    }
    let out = target().join("bench");
    if python().exists() {
        command.arg("--python").arg(python());
    }
    match depth {
        Depth::Full => command.arg("--out").arg(&out),
        Depth::Documentation => command.arg("--docs").arg(root().join("docs")),
        Depth::Quick => command.arg("--out").arg(&out).arg("--quick"),
        Depth::Budget => command.arg("--budget"),
    };
    run(&mut command)?;
    if matches!(depth, Depth::Full | Depth::Quick) {
        say(&format!("written: {}/bench.{{json,md}}", out.display()));
    }
    Ok(obstacle)
}

fn python() -> PathBuf {
    target().join("clients/python/bin/python")
}

/// Builds what the budget counts as it is released, and what asks as a debug build.
fn budget(place: &Place) -> Result<PathBuf, String> {
    place.build("stsd", "release", Some(&triple("gnu")), "stsd")?;
    place.build("stsd-emulator", "dev", None, "stsd-emulator")?;
    place.build("stsd-bench", "dev", None, "stsd-bench")?;
    Ok(place.0.join("stsd-bench"))
}

fn everything(place: &Place, musl: Option<&str>) -> Result<PathBuf, String> {
    place.build("stsd", "release", Some(&triple("gnu")), "stsd")?;
    place.build("stsd-emulator", "release", None, "stsd-emulator")?;
    match musl {
        Some(_) => place.build("stsd", "release", musl, "stsd-musl")?,
        // One from another day would be measured.
        None => drop(fs::remove_file(place.0.join("stsd-musl"))),
    }
    let mut example = cargo_command(&["build", "--locked", "--release"]);
    example.args(["--package", "stsd-client", "--features", "tokio"]);
    run(example.args(["--example", "read_cost"]))?;
    let example = target().join("release/examples/read_cost");
    copy(&example, &place.0.join("read_cost"))?;
    place.build("stsd-bench", "release", None, "stsd-bench")?;
    Ok(place.0.join("stsd-bench"))
}

/// Where the programs are brought together.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Result<Self, String> {
        let folder = target().join("bench").join(name);
        let made = fs::create_dir_all(&folder);
        made.map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self(folder))
    }

    /// Builds a package and puts its program there under a name.
    fn build(&self, package: &str, profile: &str, triple: Option<&str>, name: &str) -> Outcome {
        let mut built = target();
        let mut cargo = match triple {
            Some(triple) => {
                built.push(triple);
                command(&root(), package, profile, triple)
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
    // A program that still runs cannot be written over.
    let _ = fs::remove_file(to);
    let copied = fs::copy(from, to).map(drop);
    copied.map_err(|error| format!("{}: {error}", from.display()))
}
