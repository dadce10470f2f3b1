//! Starts the user's daemon by systemd, with installed units or with units written here; a running
//! daemon is reloaded.

use std::{
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::geteuid;
use stsd_client::Client;
use stsd_document::Printable;

use crate::{
    edit::{file, file::EditableFile},
    error::usage,
    secret_store::systemd_drop_in,
    subprocess,
    subprocess::Output,
    systemd,
    term::stdout::print_line,
};

/// The drop-in that takes the user namespace out of the service, with what needs it.
const NO_USER_NAMESPACES: &str =
    include_str!("../../../../../systemd/user/no-user-namespaces.conf");

/// The directories in which systemd finds a program without a path.
const SYSTEMD_PATH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Directories that the unit's sandbox hides.
const HIDDEN_DIRECTORIES: [&str; 3] = ["/home/", "/root/", "/run/user/"];

/// The result of the start.
pub(super) enum StartOutcome {
    /// A daemon was running and has reloaded its configuration.
    Reloaded,
    SocketEnabled,
    /// systemd cannot start the daemon, for this reason.
    NotStarted(String),
}

/// Starts the daemon. `credential` is the name of a systemd credential in `directory`.
pub(super) fn start(
    client: &Client,
    credential: Option<&str>,
    directory: &Path,
) -> Result<StartOutcome> {
    let runs = client.status().is_ok();
    if runs && credential.is_none() {
        client.reload()?;
        return Ok(StartOutcome::Reloaded);
    }
    let Some(systemctl) = subprocess::find("systemctl") else {
        return Ok(StartOutcome::NotStarted(
            "systemctl is not installed".to_owned(),
        ));
    };
    let systemctl_user = |words: &[&str]| -> Result<Output> {
        let mut command = Command::new(&systemctl);
        command.arg("--user").args(words);
        subprocess::run(command, None)
    };
    let said = systemctl_user(&["daemon-reload"])?;
    if !said.status.success() {
        return Ok(StartOutcome::NotStarted(format!(
            "this user has no systemd here ({})",
            first_line(&said)
        )));
    }
    let version = systemd::version(false);
    if let Some(version) = version.filter(|it| *it < systemd::MINIMUM) {
        return Ok(StartOutcome::NotStarted(format!(
            "systemd here is {version}, and the units need {}",
            systemd::MINIMUM
        )));
    }
    let mut changed = false;
    if !systemctl_user(&["cat", "stsd.service", "stsd.socket"])?
        .status
        .success()
    {
        install()?;
        changed = true;
    }
    // The manager has not loaded units that are new.
    let show = ["show", "stsd.service", "--property=PrivateUsers", "--value"];
    if changed || systemctl_user(&show)?.stdout.trim_ascii() == b"yes" {
        changed |= write_drop_in_for_old_systemd(version)?;
    }
    if let Some(name) = credential {
        if geteuid().is_root() {
            return Ok(StartOutcome::NotStarted(
                "a credential that root encrypts is for the machine's stsd.service: add \
                 LoadCredentialEncrypted= (man systemd.exec) with `systemctl edit stsd.service`"
                    .to_owned(),
            ));
        }
        let text = systemd_drop_in(&[name], directory);
        write_unit(
            &unit_directory()?.join(format!("stsd.service.d/{name}.conf")),
            &text,
        )?;
        changed = true;
    }
    let mut commands: Vec<&[&str]> = Vec::new();
    if changed {
        commands.push(&["daemon-reload"]);
    }
    commands.push(&["enable", "--now", "stsd.socket"]);
    if credential.is_some() {
        // A running service gets a new credential only after a restart.
        commands.push(&["try-restart", "stsd.service"]);
    }
    for words in commands {
        let said = systemctl_user(words)?;
        ensure!(
            said.status.success(),
            "systemctl --user {} has failed: {}",
            words.join(" "),
            first_line(&said)
        );
    }
    Ok(StartOutcome::SocketEnabled)
}

/// Writes the units to the user's unit directory.
fn install() -> Result<()> {
    let directory = unit_directory()?;
    for (name, text) in systemd::USER_UNITS {
        let path = directory.join(name);
        let text = match name.ends_with(".service") {
            true => with_exec_paths(text)?,
            false => text.to_owned(),
        };
        write_unit(&path, &text)?;
    }
    Ok(())
}

/// Writes the drop-in without user namespaces, if the user's manager is too old for them; returns `true`
/// if it is.
fn write_drop_in_for_old_systemd(version: Option<u32>) -> Result<bool> {
    let Some(version) = version.filter(|it| *it < systemd::USER_NAMESPACES) else {
        return Ok(false);
    };
    let path = unit_directory()?.join(format!("stsd.service.d/{}", systemd::DROP_IN));
    write_unit(&path, NO_USER_NAMESPACES)?;
    print_line(&format!(
        "systemd here is {version}, whose user manager sets up no user namespace: the daemon has no \
         sandbox over files"
    ))?;
    Ok(true)
}

/// Returns a unit with the paths of stsd and stsctl, bound into the sandbox where that is required.
fn with_exec_paths(unit: &str) -> Result<String> {
    let stsd = subprocess::find("stsd").context("stsd is neither beside stsctl nor in PATH")?;
    let stsctl = env::current_exe().context("the path of stsctl cannot be read")?;
    let unit = with_exec_path(unit, "ExecStart=", "stsd", &stsd)?;
    with_exec_path(&unit, "ExecReload=", "stsctl", &stsctl)
}

/// Replaces the name of a program in a line of a unit by its path, unless systemd finds the name.
fn with_exec_path(unit: &str, key: &str, name: &str, program: &Path) -> Result<String> {
    let directory = program.parent().unwrap_or(Path::new("/"));
    if SYSTEMD_PATH.iter().any(|it| Path::new(it) == directory) {
        return Ok(unit.to_owned());
    }
    let text = program.to_str().unwrap_or_default();
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"/._-+@".contains(&it);
    if text.is_empty() || !text.bytes().all(plain) {
        return usage(format!(
            "{} cannot stand in a unit; put {name} into /usr/local/bin",
            program.display()
        ));
    }
    let bound = if HIDDEN_DIRECTORIES.iter().any(|it| text.starts_with(it)) {
        format!("\nBindReadOnlyPaths={text}")
    } else {
        String::new()
    };
    let rest = unit.split_once(&format!("\n{key}{name}"));
    let (before, after) = rest.context("the unit has no line for the program")?;
    let (arguments, after) = after.split_once('\n').unwrap_or((after, ""));
    Ok(format!("{before}\n{key}{text}{arguments}{bound}\n{after}"))
}

/// Writes a unit file, unless it exists with the same content; other content is an error.
fn write_unit(path: &Path, text: &str) -> Result<()> {
    let shown = path.display();
    let _lock = file::lock(path)?;
    let file = EditableFile::open(path)?;
    match file.text()? {
        Some(there) if there == text => return Ok(()),
        Some(_) => return usage(format!("{shown} exists with other content; move it away")),
        None => {}
    }
    file.write(text)?;
    print_line(&format!("{shown}: written"))
}

/// Returns the user's unit directory.
fn unit_directory() -> Result<PathBuf> {
    let variable = |name| env::var_os(name).filter(|it| !it.is_empty());
    let base = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config")));
    let base = base.context("HOME is not set, so there is no place for units")?;
    let directory = base.join("systemd/user");
    match fs::create_dir_all(&directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("{}", directory.display()))
        }
        _ => Ok(directory),
    }
}

fn first_line(said: &Output) -> String {
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    Printable(text.lines().next().unwrap_or("without a message")).to_string()
}
