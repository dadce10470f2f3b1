//! The systemd units of the daemon.

use std::{collections::BTreeMap, env, path::Path, process::Command};

use rustix::process::geteuid;
use stsd_client::Client;

use super::context::DiagnosticContext;
use crate::{report::Finding, subprocess};

const UNITS: [&str; 2] = ["stsd.socket", "stsd.service"];

/// The properties of a unit.
type Properties = BTreeMap<String, String>;

pub(super) fn check(context: &DiagnosticContext) -> Vec<Finding> {
    let has_unit = context
        .audit
        .as_ref()
        .is_some_and(|it| it.unit.is_some() || it.user_unit.is_some());
    // A socket at another path belongs to a daemon that was started manually.
    if !(has_unit || context.is_system || is_default_socket(&context.socket)) {
        return vec![];
    }
    let scope = if context.is_system { "" } else { " --user" };
    let units = UNITS.map(|unit| (unit, properties(unit, context.is_system)));
    let installed = |it: &Properties| value(it, "LoadState") == "loaded";
    let mut findings = Vec::new();
    for (unit, output) in &units {
        let Some(output) = output.as_ref().filter(|it| installed(it)) else {
            continue;
        };
        let (state, enabled) = (value(output, "ActiveState"), value(output, "UnitFileState"));
        let is_socket = unit.ends_with(".socket");
        findings.push(if state == "failed" {
            let remark = format!("it has failed ({})", value(output, "Result"));
            let fix = format!(
                "read why: journalctl{scope} -u {unit}; then systemctl{scope} reset-failed {unit} \
                 and systemctl{scope} start stsd.socket"
            );
            Finding::fault(*unit, remark, fix)
        } else if is_socket && enabled == "disabled" {
            let remark = "it is disabled, so nothing listens after the next start";
            let fix = format!("systemctl{scope} enable --now {unit}");
            Finding::warning(*unit, remark, fix)
        } else if is_socket && state == "inactive" && context.status.is_err() {
            let fix = format!("systemctl{scope} start {unit}");
            Finding::fault(*unit, "it is not started", fix)
        } else {
            Finding::ok(*unit, state)
        });
    }
    // Only units of the user's manager stop at logout.
    if !context.is_system && !findings.is_empty() && linger().is_some_and(|it| it == "no") {
        let remark = "lingering is off: stsd stops when you log out, and programs that keep running \
                      can get no credentials";
        let fix = "loginctl enable-linger";
        findings.push(Finding::warning("lingering", remark, fix));
    }
    findings
}

/// Returns `true` for the socket that a client finds without `STSD_SOCKET`.
fn is_default_socket(socket: &Path) -> bool {
    let others = |name: &str| env::var_os(name).filter(|_| name != "STSD_SOCKET");
    Client::from_variables(others).socket() == socket
}

fn value<'a>(properties: &'a Properties, name: &str) -> &'a str {
    properties.get(name).map_or("", String::as_str)
}

/// Returns the properties of a unit; `None` without systemd.
fn properties(unit: &str, is_system: bool) -> Option<Properties> {
    let mut command = Command::new(subprocess::find("systemctl")?);
    if !is_system {
        command.arg("--user");
    }
    command.args(["show", unit]);
    command.arg("--property=LoadState,ActiveState,UnitFileState,Result");
    let text = run(command)?;
    let lines = text.lines().filter_map(|it| it.split_once('='));
    Some(lines.map(|(a, b)| (a.to_owned(), b.to_owned())).collect())
}

/// Returns the property `Linger` of this user.
fn linger() -> Option<String> {
    let mut command = Command::new(subprocess::find("loginctl")?);
    command.args(["show-user", &geteuid().as_raw().to_string()]);
    command.args(["--property=Linger", "--value"]);
    Some(run(command)?.trim().to_owned())
}

fn run(command: Command) -> Option<String> {
    let output = subprocess::run(command, None).ok()?;
    output.status.success().then_some(())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
