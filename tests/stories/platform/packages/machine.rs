//! A machine in a directory, in which package tools install.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::Command,
};

use e2e::{not_run, program};
use nix::{
    sys::stat::{Mode, SFlag, makedev, mknod},
    unistd::geteuid,
};

use super::{all, run};

/// Files of the users of a machine, which the package must not touch.
const THEIRS: [&str; 5] = [
    "home/jo/.config/stsd/config.toml",
    "home/jo/.config/systemd/user/stsd.service.d/override.conf",
    "etc/stsd/config.toml",
    "etc/stsd/uploader.key",
    "etc/systemd/system/stsd.service.d/override.conf",
];

/// Sockets with a listener.
const SOCKETS: [&str; 2] = ["run/stsd/stsd.sock", "run/user/1000/stsd/stsd.sock"];

/// The programs of the packages' scripts.
const TOOLS: [&str; 7] = [
    "/bin/sh",
    "/bin/grep",
    "/bin/ln",
    "/bin/mkdir",
    "/bin/rm",
    "/bin/rmdir",
    "/usr/bin/getent",
];

/// Databases of the package tools, and the record of systemctl.
const NOT_LISTED: [&str; 3] = ["var/lib/dpkg", "var/lib/rpm", "told"];

/// The arguments of systemctl for an installation, an upgrade and a removal.
pub(super) const TOLD: [&str; 4] = [
    "--system daemon-reload",
    "--system daemon-reload",
    "--system --no-reload disable --now stsd.socket stsd.service",
    "--system daemon-reload",
];

/// A root directory for dpkg and rpm, with a shell and a systemctl that records the arguments of each
/// change.
pub(super) struct Machine {
    root: tempfile::TempDir,
    _listeners: Vec<UnixListener>,
}

impl Machine {
    pub(super) fn make() -> Self {
        let root = tempfile::Builder::new().prefix("stsd-e2e-").tempdir();
        let root = root.unwrap();
        let at = |path: &str| {
            let path = root.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        for directory in [
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "var/lib/rpm",
            "var/tmp",
        ] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
        fs::write(at("var/lib/dpkg/status"), "").unwrap();
        // The scripts of the package run these and the new daemon in this root.
        for tool in TOOLS {
            fs::copy(tool, at(tool)).unwrap();
        }
        let tools = TOOLS.map(PathBuf::from);
        copy_libraries(&[&tools[..], &[program("stsd")]].concat(), root.path());
        if geteuid().is_root() {
            let (null, mode) = (at("dev/null"), Mode::from_bits_truncate(0o666));
            mknod(&null, SFlag::S_IFCHR, mode, makedev(1, 3)).unwrap();
        }
        let systemctl = at("usr/bin/systemctl");
        fs::write(
            &systemctl,
            "#!/bin/sh\ncase $1 in\nshow) ;;\n--version) read -r line </version && echo \"$line\" ;;\n\
             *) echo \"$@\" >>/told ;;\nesac\n",
        )
        .unwrap();
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(at("version"), "systemd 252 (252.39-1)\n").unwrap();
        for theirs in THEIRS {
            fs::write(at(theirs), format!("# {theirs}\n")).unwrap();
            fs::set_permissions(at(theirs), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let sockets = SOCKETS.iter();
        let listeners = sockets.map(|path| UnixListener::bind(at(path)).unwrap());
        let listeners = listeners.collect();
        Self {
            _listeners: listeners,
            root,
        }
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(super) fn dpkg(&self, arguments: &[&str]) -> String {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", self.root.path().display()));
        // The root has no package of a C library.
        dpkg.arg("--force-depends").args(arguments);
        run(dpkg.env("LC_ALL", "C"))
    }

    /// Runs rpm; returns `None`, and reports it, where there is none.
    pub(super) fn rpm(&self, arguments: &[&str]) -> Option<String> {
        if Command::new("rpm").arg("--version").output().is_err() {
            not_run("rpm does not start; its package is rpm");
            return None;
        }
        let mut rpm = Command::new("rpm");
        rpm.arg("--root").arg(self.root.path());
        rpm.args(["--dbpath", "/var/lib/rpm"]).args(arguments);
        // Debian's rpm advises against the installation of packages.
        if Command::new("dpkg").arg("--version").output().is_ok() {
            rpm.arg("--force-debian");
        }
        let output = rpm.env("LC_ALL", "C").output().unwrap();
        let said = all(&output);
        assert!(output.status.success(), "{rpm:?}: {said}");
        Some(said)
    }

    /// Makes systemctl print a version of systemd.
    pub(super) fn set_systemd(&self, version: &str) {
        fs::write(self.path("version"), format!("systemd {version}\n")).unwrap();
    }

    /// Returns the recorded arguments of systemctl.
    pub(super) fn told(&self) -> Vec<String> {
        let told = fs::read_to_string(self.path("told")).unwrap_or_default();
        told.lines().map(str::to_owned).collect()
    }

    /// Returns the metadata of every file but those of dpkg. The size and time of a directory are left
    /// out, which may change and change back.
    pub(super) fn everything(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut directories = vec![self.root.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.root.path()).unwrap();
                let name = name.to_string_lossy().into_owned();
                if NOT_LISTED.contains(&name.as_str()) {
                    continue;
                }
                let it = fs::symlink_metadata(&path).unwrap();
                let mut what = format!("{:o} {}:{} {}", it.mode(), it.uid(), it.gid(), it.ino());
                if it.is_dir() {
                    directories.push(path);
                } else {
                    what += &format!(" {} {}.{}", it.size(), it.mtime(), it.mtime_nsec());
                }
                found.insert(name, what);
            }
        }
        found
    }
}

/// Copies the shared libraries of programs into a root directory. A static program has none.
pub(super) fn copy_libraries(programs: &[PathBuf], root: &Path) {
    for program in programs {
        let output = Command::new("ldd").arg(program).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        for library in text.split_whitespace().filter(|it| it.starts_with('/')) {
            let copy = root.join(library.trim_start_matches('/'));
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(library, copy).unwrap();
        }
    }
}

/// Verifies the installed system units with systemd-analyze. It reads user units of the running machine
/// only; `tests/systemd` starts those.
pub(super) fn verify_units(machine: &Machine) {
    let systemd = Path::new("/lib/systemd/system");
    let analyze = Command::new("systemd-analyze").arg("--version").output();
    if analyze.is_err() || !systemd.join("sysinit.target").exists() {
        return not_run("systemd-analyze: there is no systemd here");
    }
    let place = machine.path("usr/lib/systemd/system");
    let others = fs::read_dir(systemd).unwrap().map(|it| it.unwrap().path());
    let mut copies: Vec<_> = others
        .filter(|path| {
            path.extension()
                .is_some_and(|it| it == "target" || it == "slice")
        })
        .map(|path| (path.clone(), place.join(path.file_name().unwrap())))
        .collect();
    // The other programs of the units.
    copies.push(("/bin/sh".into(), machine.path("usr/bin/kill")));
    for (from, to) in &copies {
        fs::copy(from, to).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]);
    verify.arg(format!("--root={}", machine.root.path().display()));
    let output = verify
        .args(["stsd.service", "stsd.socket"])
        .output()
        .unwrap();
    // A warning leaves the exit code 0.
    assert!(
        output.status.success() && all(&output).is_empty(),
        "{}",
        all(&output)
    );
    for (_, copy) in copies {
        fs::remove_file(copy).unwrap();
    }
}
