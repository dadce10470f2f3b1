//! `stsctl init`: asks for and checks everything before the first write, stores the key before the
//! configuration refers to it, and fetches the first credentials as the proof.

mod deferred_signals;
mod key;
mod plan;
mod prompt;
mod start;

use std::{env, ffi::OsString, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use deferred_signals::{DeferGuard, SignalMask};
use plan::InitPlan;
use rustix::process::geteuid;
use start::StartOutcome;
use stsd_client::{Client, Credentials};

use crate::{
    cli::Init,
    commands::setup,
    config_file::{CheckResult, ConfigFile},
    error::CliError,
    secret_store::{SecretBackend, StoredSecret},
    term::stdout::{print_line, print_warnings},
};

/// Timeout of the first credentials; a starting daemon may not listen yet.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) fn run(client: &Client, socket: Option<&Path>, typed: &Init) -> Result<ExitCode> {
    let config = ConfigFile::open()?;
    let table = config.table()?;
    let signals = SignalMask::install()?;
    let plan = InitPlan::resolve(typed, &config, &table, &signals)?;
    write(&plan, &signals)?;
    let names = plan.backend.filter(|_| plan.key.is_some());
    let invocation = Invocation::at(socket);
    if typed.no_start {
        if let Some(rest) =
            names.and_then(|it| it.manual_steps(&[plan.source.as_str()], config.directory()))
        {
            print_line(&format!("\n{rest}"))?;
        }
        print_line(&format!(
            "nothing is started: {} does it, and `{}` is the proof",
            invocation.stsd(),
            invocation.stsctl(&format!("refresh {}", plan.profile))
        ))?;
        print_tools(&invocation, &plan)?;
        return Ok(ExitCode::SUCCESS);
    }
    let credential = names.filter(|it| *it == SecretBackend::Credential);
    let credential = credential.map(|_| plan.source.as_str());
    // The user has a configuration now, which the place of the socket depends on.
    let found = Client::from_environment();
    let client = if socket.is_some() { client } else { &found };
    let probe = client.clone().without_retries();
    match start::start(&probe, credential, config.directory())? {
        StartOutcome::Reloaded => print_line("the daemon that runs already has read it")?,
        StartOutcome::SocketEnabled => {
            print_line("stsd.socket: enabled and started, for this user")?
        }
        StartOutcome::NotStarted(reason) => {
            print_tools(&invocation, &plan)?;
            bail!(CliError {
                text: format!(
                    "all is written and nothing is started: {reason}. Start {} in its place, and \
                 `{}` is the proof",
                    invocation.stsd(),
                    invocation.stsctl(&format!("refresh {}", plan.profile))
                ),
                hint: "a script that starts it otherwise says --no-start",
                exit_code: 3,
            })
        }
    }
    match client.credentials(&plan.profile, Duration::ZERO, CREDENTIALS_TIMEOUT) {
        Ok(answer) => print_first_credentials(&plan, &answer.credentials)?,
        Err(error) => {
            print_line(&format!(
                "\nThe configuration stays as it is. Once the error below is fixed, try again: {}\n",
                invocation.stsctl(&format!("refresh {}", plan.profile))
            ))?;
            return Err(error).context("no credentials have been served");
        }
    }
    print_tools(&invocation, &plan)?;
    Ok(ExitCode::SUCCESS)
}

/// The command lines that reach the same daemon, for messages.
struct Invocation {
    socket: Option<String>,
}

impl Invocation {
    fn at(socket: Option<&Path>) -> Self {
        let socket = socket.map(|it| it.display().to_string());
        Self { socket }
    }

    fn stsctl(&self, rest: &str) -> String {
        match &self.socket {
            Some(socket) => format!("stsctl --socket {socket} {rest}"),
            None => format!("stsctl {rest}"),
        }
    }

    fn stsd(&self) -> String {
        match &self.socket {
            Some(socket) => format!("`STSD_SOCKET={socket} stsd`"),
            None => stsd_of_environment(|name| env::var_os(name)),
        }
    }
}

/// Returns the commands that start the daemon, which listens only where a variable leads it.
fn stsd_of_environment(variable: impl Fn(&str) -> Option<OsString>) -> String {
    let has = |name| variable(name).is_some_and(|it| !it.is_empty());
    if has("STSD_SOCKET") || has("XDG_RUNTIME_DIR") {
        return "`stsd`".to_owned();
    }
    let usual = format!("/run/user/{}", geteuid().as_raw());
    if Path::new(&usual).is_dir() {
        return format!("`XDG_RUNTIME_DIR={usual} stsd`");
    }
    let home = variable("HOME").unwrap_or_default();
    let socket = Path::new(&home).join(".stsd/stsd.sock");
    format!("`export STSD_SOCKET={}`, then `stsd`", socket.display())
}

/// Stores the key and writes the configuration: both or neither, also after Ctrl-C.
fn write(plan: &InitPlan, signals: &SignalMask) -> Result<()> {
    let guard = signals.defer();
    let found = ConfigFile::open()?;
    let _lock = found.lock()?;
    // The previous holder of the lock may have written it.
    let config = ConfigFile::open()?;
    let table = config.table()?;
    ensure!(
        plan.is_compatible_with(&table),
        "{} was changed meanwhile; try again",
        config.path().display()
    );
    let stored = match (&plan.key, plan.backend) {
        (Some(key), Some(backend)) => Some(backend.store(&plan.source, key, config.directory())?),
        _ => None,
    };
    let done = write_config(plan, &config, &guard);
    if let (Err(_), Some(stored)) = (&done, &stored) {
        stored.undo();
    }
    drop(guard);
    done?;
    match stored {
        Some(StoredSecret::Created(path)) => {
            print_line(&format!("{}: written, mode 0600", path.display()))?
        }
        Some(StoredSecret::Unchanged(path)) => {
            print_line(&format!("{}: is there already", path.display()))?
        }
        Some(StoredSecret::External(place)) => print_line(&format!("{place}: has the key"))?,
        None => {}
    }
    print_line(&format!("{}: written", config.path().display()))
}

fn write_config(plan: &InitPlan, config: &ConfigFile, guard: &DeferGuard<'_>) -> Result<()> {
    let text = plan.text(config.text()?);
    match config.check(&text)? {
        CheckResult::Accepted(accepted) => print_warnings(&accepted.warnings)?,
        CheckResult::Rejected(reason) => {
            bail!("stsd would refuse the configuration, so nothing is changed:\n{reason}")
        }
        CheckResult::NotChecked(reason) => bail!("it cannot be checked: {reason}"),
    }
    ensure!(!guard.is_pending(), "interrupted; nothing is changed");
    config.write(&text)
}

fn print_first_credentials(plan: &InitPlan, credentials: &Credentials) -> Result<()> {
    let expiration = jiff::Timestamp::from_second(credentials.expiration_unix_seconds)?;
    print_line(&format!(
        "{}: the first credentials, {} until {expiration}",
        plan.profile, credentials.access_key_id
    ))
}

/// Prints the commands that configure the installed tools.
fn print_tools(invocation: &Invocation, plan: &InitPlan) -> Result<()> {
    let installed = setup::installed();
    if installed.is_empty() {
        let example = invocation.stsctl("setup");
        return print_line(&format!(
            "\n`{example}` lists the tools that can be told of it"
        ));
    }
    print_line("\nThe tools that are installed here are told of it by:\n")?;
    let region = plan.region.as_deref();
    let region = region.map_or_else(String::new, |it| format!(" --region {it}"));
    for (tool, file) in installed {
        let write = if file { " --write" } else { "" };
        let rest = format!("setup {tool} {}{region}{write}", plan.profile);
        print_line(&format!("  {}", invocation.stsctl(&rest)))?;
    }
    Ok(())
}
