//! The command lines that follow `stsctl init` and `stsctl import`.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use rustix::process::geteuid;

use crate::{commands::setup, subprocess, term::stdout::print_line};

/// The command lines that reach the daemon of a new configuration.
pub(super) struct NextSteps<'a> {
    pub(super) profile: &'a str,
    /// The region of STS, for a tool that needs one.
    pub(super) region: Option<&'a str>,
    /// The socket of the command line.
    pub(super) socket: Option<&'a Path>,
    pub(super) daemon: DaemonState,
}

/// The state of the daemon after a setup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DaemonState {
    /// It serves the new configuration.
    Ready,
    /// It runs with the previous configuration.
    Outdated,
    NotRunning,
}

impl NextSteps<'_> {
    /// Prints one line each: start, run a program, look at the daemon, set up a tool.
    pub(super) fn print(&self) -> Result<()> {
        print_line("")?;
        match self.daemon {
            DaemonState::Ready => {}
            DaemonState::Outdated => {
                print_line(&format!("Reload the daemon:   {}", self.stsctl("reload")))?;
            }
            DaemonState::NotRunning => {
                print_line(&format!("Start the daemon:    {}", self.start()))?;
            }
        }
        let profile = self.profile;
        print_line(&format!(
            "Run a program:       {}",
            self.stsctl(&format!("exec {profile} -- COMMAND"))
        ))?;
        print_line(&format!("Look at the daemon:  {}", self.stsctl("status")))?;
        let installed = setup::installed();
        let Some(((tool, writes), others)) = installed.split_first() else {
            let list = self.stsctl("setup");
            return print_line(&format!("Set a tool up:       {list} (lists the tools)"));
        };
        let region = self.region.unwrap_or("REGION");
        let write = if *writes { " --write" } else { "" };
        let setup = self.stsctl(&format!("setup {tool} {profile} --region {region}{write}"));
        print_line(&format!("Set a tool up:       {setup}"))?;
        if others.is_empty() {
            return Ok(());
        }
        let others: Vec<_> = others.iter().map(|(tool, _)| tool.to_string()).collect();
        print_line(&format!("Also installed here: {}", others.join(", ")))
    }

    fn stsctl(&self, rest: &str) -> String {
        match self.socket {
            Some(socket) => format!("stsctl --socket {} {rest}", socket.display()),
            None => format!("stsctl {rest}"),
        }
    }

    /// Returns the commands that start the daemon, which listens only where a variable leads it.
    fn start(&self) -> String {
        match self.socket {
            Some(socket) => format!("STSD_SOCKET={} stsd &", socket.display()),
            None if has_unit() => "systemctl --user enable --now stsd.socket".to_owned(),
            None => start_with(|name| env::var_os(name)),
        }
    }
}

/// Returns `true` if the user's systemd runs and has the units of the daemon.
fn has_unit() -> bool {
    let Some(systemctl) = subprocess::find("systemctl") else {
        return false;
    };
    let mut command = Command::new(systemctl);
    command.args(["--user", "cat", "stsd.socket"]);
    subprocess::stdout(command).is_some()
}

fn start_with(variable: impl Fn(&str) -> Option<OsString>) -> String {
    let has = |name| variable(name).is_some_and(|it| !it.is_empty());
    if has("STSD_SOCKET") || has("XDG_RUNTIME_DIR") {
        return "stsd &".to_owned();
    }
    let usual = format!("/run/user/{}", geteuid().as_raw());
    if Path::new(&usual).is_dir() {
        return format!("XDG_RUNTIME_DIR={usual} stsd &");
    }
    let home = PathBuf::from(variable("HOME").unwrap_or_default());
    let socket = home.join(".stsd/stsd.sock");
    format!("export STSD_SOCKET={}; stsd &", socket.display())
}
