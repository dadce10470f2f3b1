//! The command line and the environment of the daemon.

use std::{env, ffi::OsString, fs, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result, bail};
use lexopt::prelude::*;
use nix::unistd::{User, geteuid, gethostname};
use stsd_sts::Proxies;

use crate::{
    access::Access,
    config::Scope,
    identity::ProcessEnvironment,
    platform::{instance_id, sockets, sockets::SocketScope},
    profile::NameParts,
    runtime::program::ProgramContext,
};

/// The output of `--help`.
pub const HELP: &str = "\
Renews Alibaba Cloud role credentials in the background, and serves them to the programs of
this user over a Unix socket.

Usage: stsd [OPTIONS]

Options:
  --system    serve all users of the machine that a rule allows, with the files
              /etc/stsd/config.toml and /run/stsd/stsd.sock
  --check     read the configuration, print all its mistakes, and exit; with --json as one
              JSON document; with --portable without the users, files, credentials and
              variables of this machine, as for a configuration of another one
  --connect   connect to the configured STS once, without a request, print the error if there
              is one, and exit
  --caller-identity
              ask STS for the owner of each configured AccessKey or instance role, print the
              owners, and exit
  --schema    print the JSON Schema of the configuration, and exit
  --help, --version

Environment: STSD_CONFIG (else ~/.config/stsd/config.toml), STSD_SOCKET (else
$XDG_RUNTIME_DIR/stsd/stsd.sock), XDG_STATE_HOME (else ~/.local/state), RUST_LOG (the log
level; default info), STSD_LOG_FORMAT (json: the log as lines of JSON).
The log goes to stderr; in the journal each entry has fields.
SIGHUP reloads the configuration, SIGUSR2 executes the program that is at the same path now,
SIGTERM stops the daemon.
";

/// The output of `--schema`. A test compares it with the types that a configuration is read into.
pub const SCHEMA: &str = include_str!("config/schema.json");

/// The default port of the HTTP endpoint of a machine's daemon.
const SYSTEM_HTTP_PORT: u16 = 7787;

/// The first default port of the HTTP endpoint of a user's daemon, and the number of these ports.
const FIRST_USER_HTTP_PORT: u16 = 20_000;
const USER_HTTP_PORTS: u32 = 10_000;

/// The requested action.
#[derive(Debug)]
pub enum Action {
    /// Print the help and exit.
    Help,
    /// Print the version and exit.
    Version,
    /// Print the schema of the configuration and exit.
    Schema,
    /// Check the configuration and exit.
    Check(Options, Scope, CheckOutput),
    /// Connect to STS and exit.
    Connect(Options),
    /// Print the owners of the identities and exit.
    CallerIdentity(Options),
    /// Run the daemon.
    Run(Options),
}

/// The output of `--check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckOutput {
    /// A line for each mistake.
    Text,
    /// One JSON document.
    Json,
}

/// The options of the daemon.
#[derive(Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Serve the users of the machine instead of one user.
    pub system: bool,
}

impl Options {
    /// Returns the path of the socket, for a daemon without an inherited one.
    ///
    /// # Errors
    /// Neither `STSD_SOCKET` nor `XDG_RUNTIME_DIR` is set, or the working directory is unknown.
    pub fn socket(&self) -> Result<PathBuf> {
        if let Some(path) = variable("STSD_SOCKET") {
            // The next program of an upgrade and the watch of the socket need the same file.
            return std::path::absolute(path).context("the path in STSD_SOCKET cannot be used");
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

    /// Returns the directory whose files outlive a reboot: `$STATE_DIRECTORY` of systemd or
    /// `/var/lib/stsd` for a machine's daemon, `$XDG_STATE_HOME/stsd` or `~/.local/state/stsd` for
    /// a user's. `None` without a home directory.
    #[must_use]
    pub fn state_directory(&self) -> Option<PathBuf> {
        if self.system {
            let given = variable("STATE_DIRECTORY").and_then(|it| it.into_string().ok());
            // systemd.exec(5): several directories are separated by colons.
            let first = given.as_ref().and_then(|it| it.split(':').next());
            return Some(first.unwrap_or("/var/lib/stsd").into());
        }
        let absolute = |it: &PathBuf| it.is_absolute();
        let state = variable("XDG_STATE_HOME").map(PathBuf::from);
        let home = variable("HOME").map(PathBuf::from).filter(absolute);
        let state = state
            .filter(absolute)
            .or_else(|| Some(home?.join(".local/state")));
        Some(state?.join("stsd"))
    }

    /// Returns the port of the HTTP endpoint, if the configuration names none. Users have ports of
    /// their own, because all of them can use loopback: 20000 to 29999, by the uid. These are
    /// below the ports that Linux gives to outgoing connections.
    #[must_use]
    pub fn http_port(&self) -> u16 {
        if self.system {
            return SYSTEM_HTTP_PORT;
        }
        let own = geteuid().as_raw() % USER_HTTP_PORTS;
        FIRST_USER_HTTP_PORT + u16::try_from(own).unwrap_or_default()
    }

    /// Returns the access policy.
    #[must_use]
    pub fn access(&self) -> Access {
        let uid = geteuid().as_raw();
        if self.system {
            Access::System { uid }
        } else {
            Access::User { uid }
        }
    }

    /// Returns the users that can connect to the socket.
    #[must_use]
    pub fn scope(&self) -> SocketScope {
        if self.system {
            SocketScope::System
        } else {
            SocketScope::User
        }
    }
}

/// Parses the arguments.
///
/// # Errors
/// An unknown argument, or a missing directory of the configuration.
pub fn parse(mut parser: lexopt::Parser) -> Result<Action> {
    let (mut system, mut action): (_, fn(_) -> _) = (false, Action::Run);
    let (mut is_check, mut is_json, mut scope) = (false, false, Scope::Host);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Action::Help),
            Long("version") | Short('V') => return Ok(Action::Version),
            Long("schema") => return Ok(Action::Schema),
            Long("system") => system = true,
            Long("check") => is_check = true,
            Long("json") => is_json = true,
            Long("portable") => scope = Scope::Portable,
            Long("connect") => action = Action::Connect,
            Long("caller-identity") => action = Action::CallerIdentity,
            _ => return Err(argument.unexpected().into()),
        }
    }
    let options = Options {
        config: config_path(system)?,
        system,
    };
    match (is_check, is_json) {
        (true, true) => Ok(Action::Check(options, scope, CheckOutput::Json)),
        (true, false) => Ok(Action::Check(options, scope, CheckOutput::Text)),
        (false, true) => bail!("--json belongs to --check"),
        (false, false) if scope == Scope::Portable => bail!("--portable belongs to --check"),
        (false, false) => Ok(action(options)),
    }
}

/// Returns the environment that the configuration depends on.
///
/// # Errors
/// The host name cannot be read.
pub fn process_environment(options: &Options) -> Result<ProcessEnvironment> {
    Ok(ProcessEnvironment {
        parts: name_parts()?,
        variable: |name| env::var_os(name),
        proxies: Arc::new(Proxies::from_variables(|name| env::var_os(name))),
        programs: Arc::new(program_context(options)),
        runtime_files: own_files(options),
        http_port: options.http_port(),
    })
}

/// Returns the environment of another machine, with placeholders for the values of session names.
#[must_use]
pub fn portable_environment(options: &Options) -> ProcessEnvironment {
    ProcessEnvironment {
        parts: NameParts {
            user: "user".to_owned(),
            host: "host".to_owned(),
            pid: 1,
            // As long as one of Alibaba Cloud.
            instance_id: || Some("i-0123456789abcdefghij".to_owned()),
        },
        variable: |_| None,
        proxies: Arc::default(),
        programs: Arc::new(ProgramContext {
            environment: Vec::new(),
            variable: |_| None,
            temp_parents: Vec::new(),
        }),
        runtime_files: Vec::new(),
        http_port: options.http_port(),
    }
}

/// Returns the files that the daemon creates for itself.
fn own_files(options: &Options) -> Vec<PathBuf> {
    let beside_socket = options.socket().map(|it| sockets::runtime_files(&it));
    let state = options.state_directory();
    let state = state.map(|it| it.join(sockets::MASTER_SECRET_FILE));
    beside_socket.into_iter().flatten().chain(state).collect()
}

/// Returns the values of the placeholders in session names.
fn name_parts() -> Result<NameParts> {
    let uid = geteuid();
    // A user of a container may have no name.
    let user = User::from_uid(uid).ok().flatten().map(|user| user.name);
    let host = gethostname().context("the host name cannot be read")?;
    let host = host.to_string_lossy();
    Ok(NameParts {
        user: user.unwrap_or_else(|| format!("uid{uid}")),
        host: host.split('.').next().unwrap_or_default().to_owned(),
        pid: std::process::id(),
        instance_id: instance_id::read,
    })
}

/// Returns the identity of this machine: the machine-id and the host name.
#[must_use]
pub fn machine_id() -> Vec<u8> {
    let mut id = fs::read("/etc/machine-id").unwrap_or_default();
    // Machines of one image may share an id, and the file of a container may be empty.
    id.extend(
        gethostname()
            .map(OsString::into_encoded_bytes)
            .unwrap_or_default(),
    );
    id
}

/// Returns the surroundings of the programs in the configuration. Temporary directories are beside the
/// socket, where the daemon may write anyway; a socket of systemd is in a directory where the daemon
/// may not.
fn program_context(options: &Options) -> ProgramContext {
    let socket = options.socket().ok();
    let beside = socket.and_then(|it| it.parent().map(Into::into));
    ProgramContext {
        environment: environment(),
        variable: |name| env::var_os(name),
        temp_parents: beside.into_iter().chain([env::temp_dir()]).collect(),
    }
}

/// Returns the variables of the programs in the configuration: those to find programs, the user's
/// service manager and this daemon, and the daemon's own proxies, certificates, credentials and
/// locale. Others are systemd's for this process alone, or may be secrets of other programs.
fn environment() -> Vec<(OsString, OsString)> {
    const PASSED_VARIABLES: [&str; 12] = [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "XDG_RUNTIME_DIR",
        "DBUS_SESSION_BUS_ADDRESS",
        "STSD_SOCKET",
        "TZ",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "CREDENTIALS_DIRECTORY",
    ];
    let is_passed = |name: &str| {
        PASSED_VARIABLES.contains(&name)
            || name.starts_with("LC_")
            || name.ends_with("_PROXY")
            || name.ends_with("_proxy")
    };
    let all = env::vars_os();
    all.filter(|(name, _)| name.to_str().is_some_and(is_passed))
        .collect()
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
