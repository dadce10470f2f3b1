//! The installation of system packages for the stories that break a machine's network or kernel.
//! Missing packages are installed where that is possible. A failure is not an error here, because
//! a story that lacks a program prints NOT RUN by itself.

use std::process::{Command, Stdio};

use crate::process::say;

/// Installs what is missing, as root on Debian and its kin.
pub(crate) fn need(packages: &[&str]) {
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|it| !is_there(it))
        .collect();
    if missing.is_empty() {
        say("all are there");
        return;
    }
    let names = missing.join(" ");
    if !quiet(Command::new("sh").args(["-c", "test $(id -u) = 0 && command -v apt-get"])) {
        say(&format!("cannot be installed from here: {names}"));
        return;
    }
    say(&format!("installing {names}"));
    // A mirror that hangs must not keep the gate.
    let apt = |limit: &str, arguments: &[&str]| {
        let mut command = Command::new("timeout");
        command.args([limit, "apt-get", "-qq"]).args(arguments);
        quiet(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let install = ["install", "-y", "--no-install-recommends"];
    apt("120", &["update"]);
    if !apt("300", &[&install, &missing[..]].concat()) {
        say("apt-get failed; the stories say what they lack");
    }
}

fn is_there(package: &str) -> bool {
    let status = ["-W", "-f", "${db:Status-Status}", package];
    let output = Command::new("dpkg-query").args(status).output();
    output.is_ok_and(|it| it.stdout == b"installed")
}

fn quiet(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
    let status = quiet.stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
