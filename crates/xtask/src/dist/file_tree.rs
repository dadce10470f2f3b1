//! The file tree of the packages and of the tarball, below `/usr`.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::{Duration, UNIX_EPOCH},
};

use super::{Packing, Programs, Release, at, manual, output};
use crate::process::{Outcome, run};

/// The released programs. `stsctl demo` runs the emulator and the OSS client.
pub(crate) const PROGRAMS: [&str; 5] = [
    "stsd",
    "stsctl",
    "sts-shim",
    "stsd-emulator",
    "stsd-oss-client",
];

/// The mode of the daemon's program. The kernel lets no process of the same user trace a program that
/// the user cannot read, from the first instruction on (`would_dump` in its `fs/exec.c`); the daemon
/// itself can forbid tracing a moment later only.
const DAEMON_MODE: u32 = 0o711;

const UNITS: [&str; 4] = [
    "system/stsd.service",
    "system/stsd.socket",
    "user/stsd.service",
    "user/stsd.socket",
];

const SHELLS: [(&str, &str); 2] = [
    ("bash", "share/bash-completion/completions/stsctl"),
    ("fish", "share/fish/vendor_completions.d/stsctl.fish"),
];

/// The files that the packages and the tarball of an architecture have in common.
#[derive(Debug)]
pub(crate) struct SharedFiles<'a> {
    release: &'a Release,
    source: &'a Path,
    programs: &'a Path,
    /// The programs of this machine, which print manual pages and completions.
    host_programs: &'a Path,
    notices: &'a str,
}

impl<'a> SharedFiles<'a> {
    pub(crate) fn new(
        packing: &Packing<'a>,
        programs: &'a Programs,
        host: &'a Programs,
        notices: &'a str,
    ) -> Self {
        Self {
            release: packing.release,
            source: packing.source,
            programs: &programs.all,
            host_programs: &host.all,
            notices,
        }
    }

    /// Writes the files below a prefix.
    pub(crate) fn write(&self, prefix: &Path) -> Outcome {
        for name in PROGRAMS {
            copy(&self.programs.join(name), &prefix.join("bin").join(name))?;
        }
        for unit in UNITS {
            let unit = Path::new("systemd").join(unit);
            copy(&self.source.join(&unit), &prefix.join("lib").join(&unit))?;
        }
        for (shell, path) in SHELLS {
            self.complete(shell, &prefix.join(path))?;
        }
        let doc = prefix.join("share/doc/stsd");
        for name in [
            "README.md",
            "README.zh-CN.md",
            "SECURITY.md",
            "CHANGELOG.md",
        ] {
            copy(&self.source.join(name), &doc.join(name))?;
        }
        for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
            copy(&self.source.join(name), &doc.join(name))?;
        }
        copy_all(&self.source.join("docs"), &doc.join("docs"))?;
        let drop_in = "no-user-namespaces.conf";
        let from = self.source.join("systemd/user").join(drop_in);
        copy(&from, &doc.join("examples").join(drop_in))?;
        let rules = self.source.join("packaging/prometheus");
        copy_all(&rules, &doc.join("examples/prometheus"))?;
        write(&doc.join("THIRD-PARTY.txt"), self.notices)?;
        self.manual(prefix)
    }

    /// Returns the text of the MIT licence.
    pub(crate) fn licence(&self) -> Result<String, String> {
        let path = self.source.join("LICENSE-MIT");
        fs::read_to_string(&path).map_err(at(&path))
    }

    /// Writes the completions of zsh, whose folder differs between Debian's package and the others.
    pub(crate) fn write_zsh(&self, directory: &Path) -> Outcome {
        self.complete("zsh", &directory.join("_stsctl"))
    }

    fn complete(&self, shell: &str, path: &Path) -> Outcome {
        let mut stsctl = Command::new(self.host_programs.join("stsctl"));
        write(path, &output(stsctl.args(["completions", shell]))?)
    }

    fn manual(&self, prefix: &Path) -> Outcome {
        let all = prefix.join("share/man/all");
        fs::create_dir_all(&all).map_err(at(&all))?;
        manual::write(self.release, self.source, self.host_programs, &all)?;
        for entry in fs::read_dir(&all).map_err(at(&all))? {
            let page = entry.map_err(at(&all))?.path();
            let section = page.extension().unwrap_or_default().to_string_lossy();
            let folder = prefix.join(format!("share/man/man{section}"));
            fs::create_dir_all(&folder).map_err(at(&folder))?;
            let name = page.file_name().unwrap_or_default();
            fs::rename(&page, folder.join(name)).map_err(at(&page))?;
        }
        fs::remove_dir(&all).map_err(at(&all))
    }
}

/// Compresses a file, or each file below a directory, reproducibly.
pub(crate) fn compress(path: &Path) -> Outcome {
    let mut gzip = Command::new("gzip");
    run(gzip.args(["-r", "-9", "-n"]).arg(path))
}

/// Writes a file, and creates its parent directories.
pub(crate) fn write(path: &Path, text: &str) -> Outcome {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(at(parent))?;
    fs::write(path, text).map_err(at(path))
}

/// Sets the modes and the modification times of a tree, so that they do not depend on the umask and
/// the clock of the build.
pub(crate) fn normalize_metadata(path: &Path, release: &Release) -> Outcome {
    let directory = path.is_dir();
    if directory {
        for entry in fs::read_dir(path).map_err(at(path))? {
            normalize_metadata(&entry.map_err(at(path))?.path(), release)?;
        }
    }
    let has_programs =
        |directory: &Path| ["bin", "DEBIAN"].iter().any(|it| directory.ends_with(it));
    let data = ["control", "md5sums"].iter().any(|it| path.ends_with(it));
    let program = path.parent().is_some_and(has_programs) && !data;
    let mode = match (directory, program) {
        (false, true) if path.ends_with("bin/stsd") => DAEMON_MODE,
        (false, false) => 0o644,
        _ => 0o755,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(at(path))?;
    let seconds = release.epoch.parse();
    let seconds = seconds.map_err(|_| "SOURCE_DATE_EPOCH is not a number of seconds")?;
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    let file = File::open(path).map_err(at(path))?;
    file.set_modified(time).map_err(at(path))
}

pub(crate) fn copy(from: &Path, to: &Path) -> Outcome {
    let parent = to.parent().unwrap_or(to);
    fs::create_dir_all(parent).map_err(at(parent))?;
    fs::copy(from, to).map(|_| ()).map_err(at(from))
}

/// Copies a folder with all of its files.
fn copy_all(from: &Path, to: &Path) -> Outcome {
    for entry in fs::read_dir(from).map_err(at(from))? {
        let path = entry.map_err(at(from))?.path();
        let copied = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_all(&path, &copied)?;
        } else {
            copy(&path, &copied)?;
        }
    }
    Ok(())
}
