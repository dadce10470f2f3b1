//! The installation of the official SDKs in the target directory: a Python environment with
//! hash-pinned requirements, and Node modules from a lock file.

use std::{fs, path::Path, process::Command};

use crate::process::{Outcome, run, say};

/// Checks that the interpreters are installed.
///
/// # Errors
///
/// The name of a missing interpreter. A story that cannot run is a failure, not a skip.
pub(crate) fn interpreters() -> Outcome {
    let needed: [(&str, &[&str], &str); 3] = [
        (
            "python3",
            // Older versions have no wheel of opendal.
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
    let schema = root.join("tests/clients/python/requirements-schema.txt");
    install_tools(&schema, &target.join("clients/schema"))?;
    node(
        &root.join("tests/clients/node"),
        &target.join("clients/node"),
    )
}

/// Installs the tools of the stories that only the full gate runs.
pub(crate) fn install_data_tools(root: &Path, target: &Path) -> Outcome {
    let python = root.join("tests/clients/python");
    let ansible = python.join("requirements-ansible.txt");
    install_tools(&ansible, &target.join("clients/ansible"))?;
    let requirements = python.join("requirements-full.txt");
    install_tools(&requirements, &target.join("clients/data-tools"))
}

/// Installs binary packages from hash-pinned requirements in an environment of Python.
pub(crate) fn install_tools(requirements: &Path, folder: &Path) -> Outcome {
    if is_installed(requirements, folder) {
        return Ok(());
    }
    make_environment(folder)?;
    run(pip(folder, requirements).args(["--only-binary", ":all:"]))?;
    record_installation(requirements, folder)
}

fn python(source: &Path, folder: &Path) -> Outcome {
    let requirements = source.join("requirements.txt");
    if is_installed(&requirements, folder) {
        return Ok(());
    }
    make_environment(folder)?;
    // The old SDKs are source packages. Their build tools are pinned by hash too.
    run(&mut pip(folder, &source.join("requirements-build.txt")))?;
    run(pip(folder, &requirements).arg("--no-build-isolation"))?;
    record_installation(&requirements, folder)
}

fn make_environment(folder: &Path) -> Outcome {
    let _ = fs::remove_dir_all(folder);
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))
}

/// Returns the command that installs requirements in an environment.
fn pip(folder: &Path, requirements: &Path) -> Command {
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "--disable-pip-version-check", "install"]);
    pip.args(["--quiet", "--require-hashes", "--requirement"]);
    pip.arg(requirements);
    pip
}

fn node(source: &Path, folder: &Path) -> Outcome {
    let lock = source.join("package-lock.json");
    if !is_installed(&lock, folder) {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        copy(source, folder)?;
        let mut npm = Command::new("npm");
        npm.args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ]);
        run(npm.current_dir(folder))?;
        record_installation(&lock, folder)?;
    }
    // Node searches for modules beside the script.
    copy(source, folder)
}

/// Returns `true` if the folder was installed from the same lock file.
fn is_installed(lock: &Path, folder: &Path) -> bool {
    match (fs::read(lock), fs::read(folder.join("installed-from"))) {
        (Ok(current), Ok(installed)) => current == installed,
        _ => false,
    }
}

fn record_installation(lock: &Path, folder: &Path) -> Outcome {
    fs::copy(lock, folder.join("installed-from"))
        .map(|_| ())
        .map_err(|error| error.to_string())
}

fn copy(source: &Path, folder: &Path) -> Outcome {
    let entries = fs::read_dir(source).map_err(|error| format!("{}: {error}", source.display()))?;
    for entry in entries.flatten().filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), folder.join(entry.file_name()))
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}
