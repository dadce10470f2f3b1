//! Guards for the tree: the files of the root directory, which package must not reach which, and which
//! module imports which.

mod import_scan;
mod module_imports;
mod package_dependencies;

use std::process::Command;

use crate::process::{Outcome, output, root};

/// The files of the root directory. Another one is probably left over from an experiment.
const ROOT_FILES: [&str; 18] = [
    ".editorconfig",
    ".gitattributes",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "README.zh-CN.md",
    "SECURITY.md",
    "_typos.toml",
    "clippy.toml",
    "deny.toml",
    "install.sh",
    "rustfmt.toml",
];

/// Checks every guard.
pub(crate) fn check() -> Outcome {
    root_files()?;
    module_imports::check()?;
    package_dependencies::check()
}

/// Compares the files of the root directory with the list.
fn root_files() -> Outcome {
    let mut git = Command::new("git");
    let tracked = output(git.arg("ls-files").current_dir(root()))?;
    let mut files = tracked.lines().filter(|it| !it.contains('/'));
    match files.find(|it| !ROOT_FILES.contains(it)) {
        Some(file) => Err(format!(
            "{file} is not in the list of root files in crates/xtask/src/guards.rs"
        )),
        None => Ok(()),
    }
}
