//! The installation of Debian packages that stories need. A story without its packages prints NOT
//! RUN, so that a failure here is no error.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::process::{say, target};

/// Installs the missing packages, as root on a system with apt.
pub(crate) fn ensure(packages: &[&str]) {
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|it| !is_installed(it))
        .collect();
    if missing.is_empty() {
        say("all packages are installed");
        return;
    }
    let names = missing.join(" ");
    if !quiet(Command::new("sh").args(["-c", "test $(id -u) = 0 && command -v apt-get"])) {
        say(&format!("not installed, without root or apt-get: {names}"));
        return;
    }
    say(&format!("installing {names}"));
    // A mirror that does not respond must not block the gate.
    let apt = |limit: &str, arguments: &[&str]| {
        let mut command = Command::new("timeout");
        command.args([limit, "apt-get", "-qq"]).args(arguments);
        quiet(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let install = ["install", "-y", "--no-install-recommends"];
    apt("120", &["update"]);
    if !apt("300", &[&install, &missing[..]].concat()) {
        say("apt-get failed; stories without their packages print NOT RUN");
    }
}

/// Unpacks a program of a package in `target/tools`, where the machine has none: the installation of the
/// package would start a service.
pub(crate) fn ensure_program(package: &str, program: &str) {
    let directory = target().join("tools").join(program);
    let is_found = |path: &Path| quiet(Command::new(path).arg("--version"));
    if is_found(Path::new(program)) || is_found(&directory.join("usr/bin").join(program)) {
        say(&format!("{program} is installed"));
        return;
    }
    say(&format!("unpacking {program} of the package {package}"));
    let unpack = format!(
        "mkdir -p {directory:?} && cd {directory:?} && \
         {{ timeout 300 apt-get -qq download {package} || \
            {{ timeout 120 apt-get -qq update && timeout 300 apt-get -qq download {package}; }}; }} && \
         dpkg-deb --fsys-tarfile {package}_*.deb | tar --extract ./usr/bin/{program} && rm {package}_*.deb"
    );
    if !quiet(Command::new("sh").args(["-c", &unpack])) {
        say(&format!(
            "{package} cannot be loaded; the stories that run {program} print NOT RUN"
        ));
    }
}

fn is_installed(package: &str) -> bool {
    let status = ["-W", "-f", "${db:Status-Status}", package];
    let output = Command::new("dpkg-query").args(status).output();
    output.is_ok_and(|it| it.stdout == b"installed")
}

fn quiet(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
    let status = quiet.stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
