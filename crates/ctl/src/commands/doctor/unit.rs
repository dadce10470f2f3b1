//! The systemd units of the daemon.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::geteuid;
use stsd_client::Client;

use super::context::DiagnosticContext;
use crate::{report::Finding, subprocess, systemd};

/// The directories of packages, and of the tarball.
const PACKAGE_DIRECTORIES: [&str; 3] =
    ["/usr/lib/systemd", "/lib/systemd", "/usr/local/lib/systemd"];

/// The keys of lines that `stsctl init` writes with the paths of the programs.
const PROGRAM_KEYS: [&str; 3] = ["ExecStart=", "ExecReload=", "BindReadOnlyPaths="];

/// The properties that the checks read.
const PROPERTIES: [&str; 7] = [
    "FragmentPath",
    "LoadState",
    "ActiveState",
    "UnitFileState",
    "Result",
    "ExecMainStatus",
    "PrivateUsers",
];

/// The exit statuses of a service whose user namespace, or a mount in it, cannot be set up. Source:
/// systemd.exec(5).
const NAMESPACE_STATUSES: [&str; 2] = ["217", "226"];

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
    let of_this_version = match context.is_system {
        true => systemd::SYSTEM_UNITS,
        false => systemd::USER_UNITS,
    };
    let units = of_this_version.map(|(unit, _)| (unit, properties(unit, context.is_system)));
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
    let texts = of_this_version.iter().map(|(_, text)| *text);
    for ((unit, output), text) in units.iter().zip(texts) {
        let path = output.as_ref().map(|it| value(it, "FragmentPath"));
        findings.extend(path.and_then(|it| own_unit(unit, Path::new(it), text, scope)));
    }
    if let Some(version) = systemd::version(context.is_system)
        && version < systemd::MINIMUM
        && !findings.is_empty()
    {
        let remark = format!(
            "its version is {version}, and the units need {}",
            systemd::MINIMUM
        );
        let fix = "start stsd without systemd, or update systemd";
        findings.push(Finding::warning("systemd", remark, fix));
    }
    let [_, (_, service)] = &units;
    if let Some(service) = service
        .as_ref()
        .filter(|it| !context.is_system && installed(it))
    {
        findings.extend(user_namespace(service));
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

/// Returns the finding for a unit of the user or the administrator, which no package updates, with other
/// settings than that of this version.
fn own_unit(unit: &str, path: &Path, of_this_version: &str, scope: &str) -> Option<Finding> {
    let is_packaged = PACKAGE_DIRECTORIES.iter().any(|it| path.starts_with(it));
    let text = fs::read_to_string(path).ok().filter(|_| !is_packaged)?;
    if settings(&text) == settings(of_this_version) {
        return None;
    }
    let shown = path.display();
    let remark = format!("{shown} has other settings than the unit of this version");
    let directory = if scope.is_empty() { "system" } else { "user" };
    let packaged = PACKAGE_DIRECTORIES.map(|it| PathBuf::from(it).join(directory).join(unit));
    let fix = match packaged.iter().any(|it| it.exists()) {
        true => format!(
            "mv {shown} {shown}.old; systemctl{scope} daemon-reload; own settings belong in a drop-in: \
             systemctl{scope} edit {unit}"
        ),
        false => format!(
            "mv {shown} {shown}.old; stsctl init writes the unit of this version (--force for an existing \
             profile)"
        ),
    };
    Some(Finding::warning(format!("settings of {unit}"), remark, fix))
}

/// Returns the lines of a unit with settings other than the paths of the programs.
fn settings(unit: &str) -> Vec<&str> {
    let lines = unit.lines().map(str::trim);
    let lines = lines.filter(|it| !it.is_empty() && !it.starts_with(['#', ';']));
    lines
        .filter(|it| PROGRAM_KEYS.iter().all(|key| !it.starts_with(key)))
        .collect()
}

/// Returns a finding for each key that a daemon which does not answer would get as a credential, from a
/// systemd that knows none.
pub(super) fn check_credentials(context: &DiagnosticContext, config: &toml::Table) -> Vec<Finding> {
    if context.status.is_ok() {
        return vec![];
    }
    let sources = config.get("source").and_then(|it| it.as_table());
    let named = sources.into_iter().flatten();
    let named = named.filter(|(_, it)| it.get("access_key_credential").is_some());
    let named: Vec<_> = named.map(|(name, _)| name).collect();
    if named.is_empty() {
        return vec![];
    }
    let version = systemd::version(context.is_system);
    let Some(version) = version.filter(|it| *it < systemd::LOAD_CREDENTIAL) else {
        return vec![];
    };
    let remark = format!(
        "access_key_credential: systemd here is {version}, before LoadCredential= ({})",
        systemd::LOAD_CREDENTIAL
    );
    let fix = match context.is_system {
        true => {
            "create the system user stsd, which the unit then runs as (useradd --system stsd), and name a \
             file of that user with mode 0600 by access_key_file"
        }
        false => "name a file with mode 0600 by access_key_file",
    };
    let finding = |name| Finding::fault(format!("key of {name}"), remark.clone(), fix);
    named.into_iter().map(finding).collect()
}

/// Returns the finding for the user namespace of a user's service: whether the unit has one, and whether
/// the manager can set it up. `None` for a unit that cannot be read.
fn user_namespace(service: &Properties) -> Option<Finding> {
    let subject = "stsd.service's sandbox";
    let version = systemd::version(false)?;
    let is_new = version >= systemd::USER_NAMESPACES;
    let status = value(service, "ExecMainStatus");
    let is_refused = NAMESPACE_STATUSES.contains(&status);
    let is_active = value(service, "ActiveState") == "active";
    match value(service, "PrivateUsers") {
        "yes" if is_active || (is_new && !is_refused) => {
            let remark = format!("with a user namespace, which systemd {version} sets up");
            Some(Finding::ok(subject, remark))
        }
        "yes" => {
            let cause = match is_new {
                true => format!("this host refuses the user namespace (status {status})"),
                false => format!(
                    "systemd here is {version}, whose user manager sets up no user namespace \
                     (status=217/USER)"
                ),
            };
            let remark = format!("{cause}, and the drop-in {} is missing", systemd::DROP_IN);
            Some(Finding::fault(subject, remark, install_drop_in()))
        }
        "no" => {
            let reason = match is_new {
                true => "only hosts that forbid user namespaces need this".to_owned(),
                false => format!("systemd {version} needs this"),
            };
            let remark = format!("no user namespace, and so no sandbox over files; {reason}");
            Some(Finding::ok(subject, remark))
        }
        _ => None,
    }
}

/// Returns the command that installs the drop-in from the documentation of this installation.
fn install_drop_in() -> String {
    let own = env::current_exe().unwrap_or_default();
    let prefix = own.ancestors().nth(2).unwrap_or(Path::new("/usr"));
    let examples = prefix.join("share/doc/stsd/examples");
    format!(
        "mkdir -p ~/.config/systemd/user/stsd.service.d; cp {}/{} ~/.config/systemd/user/stsd.service.d; \
         systemctl --user daemon-reload",
        examples.display(),
        systemd::DROP_IN
    )
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
    command.arg(format!("--property={}", PROPERTIES.join(",")));
    let text = subprocess::stdout(command)?;
    let lines = text.lines().filter_map(|it| it.split_once('='));
    Some(lines.map(|(a, b)| (a.to_owned(), b.to_owned())).collect())
}

/// Returns the property `Linger` of this user.
fn linger() -> Option<String> {
    let mut command = Command::new(subprocess::find("loginctl")?);
    command.args(["show-user", &geteuid().as_raw().to_string()]);
    command.args(["--property=Linger", "--value"]);
    Some(subprocess::stdout(command)?.trim().to_owned())
}
