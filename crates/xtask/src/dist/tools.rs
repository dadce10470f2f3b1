//! The tools that pack: those of the system, and those from PyPI, which are installed below the target
//! directory.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    clients,
    process::{Outcome, output, root, target},
};

/// The tools from PyPI, pinned by hash in `packaging/requirements.txt`.
#[derive(Debug)]
pub(crate) struct PythonTools(PathBuf);

impl PythonTools {
    /// Installs the tools that are not yet installed.
    ///
    /// # Errors
    ///
    /// Python or the registry is missing; the command that failed.
    pub(crate) fn install() -> Result<Self, String> {
        let folder = target().join("tools/packaging");
        clients::install_tools(&root().join("packaging/requirements.txt"), &folder)
            .map_err(|error| format!("{error}; on Debian: sudo apt-get install python3-venv"))?;
        Ok(Self(folder.join("bin")))
    }

    /// Returns the command of nfpm, which makes rpm packages.
    pub(crate) fn nfpm(&self) -> Command {
        Command::new(self.0.join("nfpm"))
    }

    /// Returns Mozilla's list of certificate authorities, as PEM.
    pub(crate) fn certificate_authorities(&self) -> Result<String, String> {
        let mut python = Command::new(self.0.join("python"));
        output(python.args(["-c", "import certifi; print(certifi.contents(), end='')"]))
    }

    /// Returns the version of that list, a date.
    pub(crate) fn certificate_authorities_version(&self) -> Result<String, String> {
        let mut python = Command::new(self.0.join("python"));
        let version = "from importlib.metadata import version; print(version('certifi'))";
        Ok(output(python.args(["-c", version]))?.trim().to_owned())
    }
}

/// Checks that the tools of the system are installed.
///
/// # Errors
///
/// A missing tool, and the command that installs it.
pub(crate) fn check() -> Outcome {
    for (tool, package) in [
        ("dpkg-deb", "dpkg"),
        ("tar", "tar"),
        ("gzip", "gzip"),
        ("sha256sum", "coreutils"),
        ("md5sum", "coreutils"),
        ("python3", "python3-venv"),
    ] {
        let found = output(Command::new(tool).arg("--version"));
        found.map_err(|error| format!("{error}; on Debian: sudo apt-get install {package}"))?;
    }
    Ok(())
}

/// Returns the SHA-256 of a file, in hexadecimal digits.
pub(crate) fn sha256(path: &Path) -> Result<String, String> {
    let line = output(Command::new("sha256sum").arg("--").arg(path))?;
    // A backslash precedes the sum of a file whose name sha256sum quotes.
    Ok(line.trim_start_matches('\\').chars().take(64).collect())
}
