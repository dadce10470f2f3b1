//! The installation of the official SDKs: a Python environment with hash-pinned
//! requirements and a Node installation from a lock file, both below the target directory.

use std::{fs, path::Path, process::Command};

use crate::process::{Outcome, run, say};

/// Fails with what to install when an interpreter is missing: a story that cannot be run
/// is a failure, not a skip.
pub(crate) fn interpreters() -> Outcome {
    let needed: [(&str, &[&str], &str); 3] = [
        (
            "python3",
            // Older ones have no wheel of opendal.
            &[
                "-c",
                "import sys, venv; sys.exit(sys.version_info < (3, 11))",
            ],
            "Python 3.11 or newer with its venv module",
        ),
        ("node", &["--version"], "Node.js 18 or newer"),
        ("npm", &["--version"], "npm"),
    ];
    for (program, arguments, name) in needed {
        let output = Command::new(program).args(arguments).output();
        match output {
            Ok(output) if output.status.success() => say(&format!("{program}: found")),
            _ => {
                return Err(format!(
                    "the SDK stories need {name}: `{program}` does not work here"
                ));
            }
        }
    }
    Ok(())
}

pub(crate) fn install(root: &Path, target: &Path) -> Outcome {
    python(
        &root.join("tests/clients/python"),
        &target.join("clients/python"),
    )?;
    node(
        &root.join("tests/clients/node"),
        &target.join("clients/node"),
    )
}

fn python(source: &Path, place: &Path) -> Outcome {
    let requirements = source.join("requirements.txt");
    if installed(&requirements, place) {
        return Ok(());
    }
    let _ = fs::remove_dir_all(place);
    run(Command::new("python3").args(["-m", "venv"]).arg(place))?;
    let pip = || {
        let mut pip = Command::new(place.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--quiet",
        ]);
        pip.args(["--require-hashes", "--requirement"]);
        pip
    };
    // The old SDKs ship as sources; what builds them is pinned by hash as well.
    run(pip().arg(source.join("requirements-build.txt")))?;
    run(pip().arg(&requirements).arg("--no-build-isolation"))?;
    remember(&requirements, place)
}

fn node(source: &Path, place: &Path) -> Outcome {
    let lock = source.join("package-lock.json");
    if !installed(&lock, place) {
        let _ = fs::remove_dir_all(place);
        fs::create_dir_all(place).map_err(|error| error.to_string())?;
        copy(source, place)?;
        let mut npm = Command::new("npm");
        npm.args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ]);
        run(npm.current_dir(place))?;
        remember(&lock, place)?;
    }
    // Modules are looked up beside the script, so the script goes beside the modules.
    copy(source, place)
}

/// An installation is kept while its lock file stays as it was.
fn installed(lock: &Path, place: &Path) -> bool {
    match (fs::read(lock), fs::read(place.join("installed-from"))) {
        (Ok(wanted), Ok(there)) => wanted == there,
        _ => false,
    }
}

fn remember(lock: &Path, place: &Path) -> Outcome {
    fs::copy(lock, place.join("installed-from"))
        .map(|_| ())
        .map_err(|error| error.to_string())
}

fn copy(source: &Path, place: &Path) -> Outcome {
    let entries = fs::read_dir(source).map_err(|error| format!("{}: {error}", source.display()))?;
    for entry in entries.flatten().filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), place.join(entry.file_name())).map_err(|error| error.to_string())?;
    }
    Ok(())
}
