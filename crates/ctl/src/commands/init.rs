//! `stsctl init`: asks for everything and asks STS before the first write, stores the key before the
//! configuration refers to it, and starts the daemon.

mod deferred_signals;
mod key;
mod plan;
mod prompt;
mod questions;
mod start;
mod trial;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use deferred_signals::{DeferGuard, SignalMask};
use plan::{InitPlan, Source};
use start::StartOutcome;
use stsd_client::{Client, Credentials};

use crate::{
    cli::Init,
    commands::next_steps::{DaemonState, NextSteps},
    config_file::{CheckResult, ConfigFile},
    secret_store::{SecretBackend, StoredSecret},
    term::stdout::{print_line, print_warnings},
};

/// Timeout of the first credentials; a starting daemon may not listen yet.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) fn run(client: &Client, socket: Option<&Path>, typed: &Init) -> Result<ExitCode> {
    let config = ConfigFile::open()?;
    let signals = SignalMask::install()?;
    let answers = questions::answers(typed, &config, &signals)?;
    let plan = &answers.plan;
    write(plan, &config, &signals)?;
    if let Some(credentials) = &answers.credentials {
        print_credentials(plan, credentials)?;
    }
    let mut next = NextSteps {
        profile: &plan.profile,
        region: plan.region.as_deref(),
        socket,
        daemon: DaemonState::NotRunning,
    };
    if typed.no_start {
        print_manual_steps(plan, &config)?;
        next.print()?;
        return Ok(ExitCode::SUCCESS);
    }
    // The user has a configuration now, which the place of the socket depends on.
    let found = Client::from_environment();
    let client = if socket.is_some() { client } else { &found };
    let probe = client.clone().without_retries();
    match start::start(&probe, new_credential(plan), config.directory())? {
        StartOutcome::Reloaded => print_line("the running daemon has reloaded it")?,
        StartOutcome::SocketEnabled => {
            print_line("stsd.socket: enabled and started, for this user")?
        }
        StartOutcome::NotStarted(reason) => {
            print_line(&format!("stsd is not started: {reason}"))?;
            next.print()?;
            return Ok(ExitCode::SUCCESS);
        }
    }
    let answer = client.credentials(&plan.profile, Duration::ZERO, CREDENTIALS_TIMEOUT);
    let answer = answer.context("the daemon serves no credentials of the new profile")?;
    if answers.credentials.is_none() {
        print_credentials(plan, &answer.credentials)?;
    }
    next.daemon = DaemonState::Ready;
    next.print()?;
    Ok(ExitCode::SUCCESS)
}

/// Stores the key and writes the configuration: both or neither, also after Ctrl-C.
fn write(plan: &InitPlan, before: &ConfigFile, signals: &SignalMask) -> Result<()> {
    let guard = signals.defer();
    let found = ConfigFile::open()?;
    let _lock = found.lock()?;
    // The previous holder of the lock may have written it.
    let config = ConfigFile::open()?;
    ensure!(
        config.text()? == before.text()?,
        "{} was changed meanwhile; try again",
        config.path().display()
    );
    let stored = match &plan.source {
        Source::Key { name, key, backend } => {
            let text = key::key_file_text(&key.id, &key.secret);
            Some(backend.store(name, &text, config.directory())?)
        }
        Source::Existing(_) | Source::InstanceRole(_) => None,
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
    let before = plan::parse(config.text()?.unwrap_or_default(), config.path())?;
    let text = plan.apply_to(&before).to_string();
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

/// Returns the name of the new key, if systemd gives it to the daemon.
fn new_credential(plan: &InitPlan) -> Option<&str> {
    match &plan.source {
        Source::Key { name, backend, .. } if *backend == SecretBackend::Credential => Some(name),
        _ => None,
    }
}

fn print_manual_steps(plan: &InitPlan, config: &ConfigFile) -> Result<()> {
    let Source::Key { name, backend, .. } = &plan.source else {
        return Ok(());
    };
    match backend.manual_steps(&[name], config.directory()) {
        Some(steps) => print_line(&format!("\n{steps}")),
        None => Ok(()),
    }
}

fn print_credentials(plan: &InitPlan, credentials: &Credentials) -> Result<()> {
    let expiration = jiff::Timestamp::from_second(credentials.expiration_unix_seconds)?;
    print_line(&format!(
        "{}: the first credentials, {} until {expiration}",
        plan.profile, credentials.access_key_id
    ))
}
