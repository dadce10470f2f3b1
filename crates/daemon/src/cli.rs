//! Decides what was typed and what the environment says mean.

use std::{env, ffi::OsString, fs, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result, bail};
use lexopt::prelude::*;
use nix::unistd::{User, geteuid, gethostname};

use crate::{
    access::Access,
    identity::ProcessEnvironment,
    platform::{sockets, sockets::SocketScope},
    profile::NameParts,
};

/// What `--help` prints.
pub const HELP: &str = "\
Holds an identity, renews Alibaba Cloud role credentials in the background and hands them
to the programs of this user over a Unix socket.

Usage: stsd [OPTIONS]

Options:
  --system    serve the machine: /etc/stsd/config.toml, /run/stsd/stsd.sock; nobody gets
              credentials without a rule
  --check     read the configuration, say what is wrong with it, and exit
  --connect   connect to its STS once, ask for nothing, say what stands in the way, and exit
  --help, --version

Environment: STSD_CONFIG (else ~/.config/stsd/config.toml), STSD_SOCKET (else
$XDG_RUNTIME_DIR/stsd/stsd.sock), RUST_LOG (what to log; default info).
The log goes to stderr; where that is the journal, with its fields.
SIGHUP reads the configuration again, SIGUSR2 gives the place to the program that stands at
the same path now, SIGTERM stops.
";

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// Print the help and leave.
    Help,
    /// Print the version and leave.
    Version,
    /// Check the configuration and leave.
    Check(Options),
    /// Connect to STS and leave.
    Connect(Options),
    /// Run.
    Run(Options),
}

/// Where things are and whom to serve.
#[derive(Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// The machine's daemon instead of a user's.
    pub system: bool,
}

impl Options {
    /// Returns where to listen, unless systemd hands over a socket.
    ///
    /// # Errors
    /// When a user has no runtime directory.
    pub fn socket(&self) -> Result<PathBuf> {
        if let Some(path) = variable("STSD_SOCKET") {
            return Ok(path.into());
        }
        if self.system {
            return Ok("/run/stsd/stsd.sock".into());
        }
        let Some(runtime) = variable("XDG_RUNTIME_DIR") else {
            bail!(
                "XDG_RUNTIME_DIR is not set; set STSD_SOCKET to a path in a directory of mode 0700"
            );
        };
        Ok(PathBuf::from(runtime).join("stsd/stsd.sock"))
    }

    /// Returns whom to serve.
    #[must_use]
    pub fn access(&self) -> Access {
        let uid = geteuid().as_raw();
        if self.system {
            Access::System { uid }
        } else {
            Access::User { uid }
        }
    }

    /// Returns who should reach the socket.
    #[must_use]
    pub fn scope(&self) -> SocketScope {
        if self.system {
            SocketScope::System
        } else {
            SocketScope::User
        }
    }
}

/// Reads the arguments.
///
/// # Errors
/// What cannot be understood.
pub fn parse(mut parser: lexopt::Parser) -> Result<Action> {
    let (mut system, mut action): (_, fn(_) -> _) = (false, Action::Run);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Action::Help),
            Long("version") | Short('V') => return Ok(Action::Version),
            Long("system") => system = true,
            Long("check") => action = Action::Check,
            Long("connect") => action = Action::Connect,
            _ => return Err(argument.unexpected().into()),
        }
    }
    let options = Options {
        config: config_path(system)?,
        system,
    };
    Ok(action(options))
}

/// Returns what of our surroundings the configuration may be about.
///
/// # Errors
/// When the system cannot say who we are.
pub fn process_environment(options: &Options) -> Result<ProcessEnvironment> {
    Ok(ProcessEnvironment {
        parts: name_parts()?,
        variable: |name| env::var_os(name),
        environment: Arc::new(environment()),
        runtime_files: options
            .socket()
            .map_or_else(|_| Vec::new(), |it| sockets::runtime_files(&it)),
    })
}

/// Returns what `{user}`, `{host}` and `{pid}` stand for.
fn name_parts() -> Result<NameParts> {
    let uid = geteuid();
    // A container's user may have a number and no name.
    let user = User::from_uid(uid).ok().flatten().map(|user| user.name);
    let host = gethostname().context("the host has no name")?;
    let host = host.to_string_lossy();
    Ok(NameParts {
        user: user.unwrap_or_else(|| format!("uid{uid}")),
        host: host.split('.').next().unwrap_or_default().to_owned(),
        pid: std::process::id(),
    })
}

/// Returns what tells this machine from others: its machine-id, or else its name.
#[must_use]
pub fn machine_id() -> Vec<u8> {
    fs::read("/etc/machine-id")
        .or_else(|_| gethostname().map(OsString::into_encoded_bytes))
        .unwrap_or_default()
}

/// Returns what the commands of a configuration get of our environment: nothing but what they
/// need to find programs, their user's manager and us. There may be a proxy's password in it,
/// and what systemd says to us alone.
fn environment() -> Vec<(OsString, OsString)> {
    const PASSED_ON: [&str; 8] = [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "XDG_RUNTIME_DIR",
        "DBUS_SESSION_BUS_ADDRESS",
        "STSD_SOCKET",
    ];
    let passed_on = PASSED_ON.iter();
    let passed_on = passed_on.filter_map(|name| Some(((*name).into(), env::var_os(name)?)));
    passed_on.collect()
}

fn config_path(system: bool) -> Result<PathBuf> {
    if let Some(path) = variable("STSD_CONFIG") {
        return Ok(path.into());
    }
    if system {
        return Ok("/etc/stsd/config.toml".into());
    }
    let directory = match (variable("XDG_CONFIG_HOME"), variable("HOME")) {
        (Some(directory), _) => PathBuf::from(directory),
        (None, Some(home)) => PathBuf::from(home).join(".config"),
        (None, None) => bail!("neither STSD_CONFIG nor HOME is set; set one"),
    };
    Ok(directory.join("stsd/config.toml"))
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}
