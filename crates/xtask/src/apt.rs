//! The installation of Debian packages that stories need. A story without its packages prints NOT
//! RUN, so that a failure here is no error.

use std::process::{Command, Stdio};

use crate::process::say;

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
