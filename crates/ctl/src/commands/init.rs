//! Decides in which order a user is set up, and what a human sees of it: all is asked and
//! checked before anything is written, the key is put away before the configuration names
//! it, and a hand-out is the proof.

mod deferred_signals;
mod key;
mod plan;
mod prompt;
mod start;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use deferred_signals::{Held, Signals};
use plan::Wish;
use rustix::process::geteuid;
use start::Started;
use stsd_client::{Client, Credentials, Error};

use crate::{
    cli::Init,
    commands::setup,
    config_file::{Configuration, Judgement},
    error::Complaint,
    secret_store::{Keeper, Put},
    term::stdout::say,
};

/// How long the first credentials are waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often a daemon that was just started is looked for.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 200;

pub(crate) fn run(client: &Client, socket: Option<&Path>, typed: &Init) -> Result<ExitCode> {
    let configuration = Configuration::find()?;
    let there = configuration.table()?;
    let signals = Signals::take()?;
    let wish = Wish::of(typed, &configuration, &there, &signals)?;
    write(&wish, &signals)?;
    let names = wish.keeper.filter(|_| wish.key.is_some());
    let ctl = Ctl::at(socket);
    if typed.no_start {
        if let Some(rest) =
            names.and_then(|it| it.rest(&[wish.source.as_str()], configuration.directory()))
        {
            say(&format!("\n{rest}"))?;
        }
        say(&format!(
            "nothing is started: {} does it, and `{}` is the proof",
            ctl.daemon(),
            ctl.line(&format!("refresh {}", wish.profile))
        ))?;
        tools(&ctl, &wish)?;
        return Ok(ExitCode::SUCCESS);
    }
    let credential = names.filter(|it| *it == Keeper::Credential);
    let credential = credential.map(|_| wish.source.as_str());
    // The machine's daemon, where there is one, is not this user's.
    let own = own_socket().filter(|_| socket.is_none()).map(Client::at);
    let client = own.as_ref().unwrap_or(client);
    match start::start(client, credential, configuration.directory())? {
        Started::Running => say("the daemon that runs already has read it")?,
        Started::Socket => say("stsd.socket: enabled and started, for this user")?,
        Started::Not(reason) => {
            tools(&ctl, &wish)?;
            bail!(Complaint {
                text: format!(
                    "all is written and nothing is started: {reason}. Start {} in its place, and \
                 `{}` is the proof",
                    ctl.daemon(),
                    ctl.line(&format!("refresh {}", wish.profile))
                ),
                hint: "a script that starts it otherwise says --no-start",
                exit_code: 3,
            })
        }
    }
    match first(client, &wish.profile) {
        Ok(credentials) => proven(&wish, &credentials)?,
        Err(error) => {
            say(&format!(
                "\nThe configuration stays as it is. Once what follows is mended, try again: {}\n",
                ctl.line(&format!("refresh {}", wish.profile))
            ))?;
            return Err(error).context("there has been no hand-out");
        }
    }
    tools(&ctl, &wish)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns where systemd has a user's daemon listen; nothing where another place is named.
fn own_socket() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).filter(|it| !it.is_empty());
    if variable("STSD_SOCKET").is_some() {
        return None;
    }
    let usual = || format!("/run/user/{}", geteuid().as_raw()).into();
    let runtime = variable("XDG_RUNTIME_DIR").map_or_else(usual, PathBuf::from);
    Some(runtime.join("stsd/stsd.sock"))
}

/// How our programs are called by somebody who is to find the same daemon.
struct Ctl {
    socket: Option<String>,
}

impl Ctl {
    fn at(socket: Option<&Path>) -> Self {
        let socket = socket.map(|it| it.display().to_string());
        Self { socket }
    }

    fn line(&self, rest: &str) -> String {
        match &self.socket {
            Some(socket) => format!("stsctl --socket {socket} {rest}"),
            None => format!("stsctl {rest}"),
        }
    }

    fn daemon(&self) -> String {
        match &self.socket {
            Some(socket) => format!("`STSD_SOCKET={socket} stsd`"),
            None => "`stsd`".to_owned(),
        }
    }
}

/// Puts the key away and the configuration in its place: both or neither, also for who
/// types Ctrl-C in the middle.
fn write(wish: &Wish, signals: &Signals) -> Result<()> {
    let held = signals.hold();
    let found = Configuration::find()?;
    let _lock = found.lock()?;
    // It may have been written by whoever had the lock before.
    let configuration = Configuration::find()?;
    let there = configuration.table()?;
    ensure!(
        wish.fits(&there),
        "{} was changed meanwhile; try again",
        configuration.path().display()
    );
    let put = match (&wish.key, wish.keeper) {
        (Some(key), Some(keeper)) => {
            Some(keeper.put(&wish.source, key, configuration.directory())?)
        }
        _ => None,
    };
    let done = put_configuration(wish, &configuration, &held);
    if let (Err(_), Some(put)) = (&done, &put) {
        put.undo();
    }
    drop(held);
    done?;
    match put {
        Some(Put::New(path)) => say(&format!("{}: written, mode 0600", path.display()))?,
        Some(Put::There(path)) => say(&format!("{}: is there already", path.display()))?,
        Some(Put::Elsewhere(place)) => say(&format!("{place}: has the key"))?,
        None => {}
    }
    say(&format!("{}: written", configuration.path().display()))
}

fn put_configuration(wish: &Wish, configuration: &Configuration, held: &Held<'_>) -> Result<()> {
    let text = wish.text(configuration.text()?);
    match configuration.judge(&text)? {
        Judgement::Good => {}
        Judgement::Refused(reason) => {
            bail!("stsd would refuse the configuration, so nothing is changed:\n{reason}")
        }
        Judgement::Unknown(reason) => bail!("it cannot be checked: {reason}"),
    }
    ensure!(!held.came(), "interrupted; nothing is changed");
    configuration.put(&text)
}

/// Asks for the first credentials; a daemon that was just started may not listen yet.
fn first(client: &Client, profile: &str) -> Result<Credentials, Error> {
    let mut looks = 0;
    loop {
        match client.credentials(profile, Duration::ZERO, PATIENCE) {
            Err(Error::NotReachable { .. }) if looks < LOOKS => {
                looks += 1;
                thread::sleep(LOOK);
            }
            answer => return Ok(answer?.credentials),
        }
    }
}

fn proven(wish: &Wish, credentials: &Credentials) -> Result<()> {
    let expiration = jiff::Timestamp::from_second(credentials.expiration_unix_seconds)?;
    say(&format!(
        "{}: the first hand-out, {} until {expiration}",
        wish.profile, credentials.access_key_id
    ))
}

/// Prints what tells the tools that are here of the profile.
fn tools(ctl: &Ctl, wish: &Wish) -> Result<()> {
    let installed = setup::installed();
    if installed.is_empty() {
        let example = ctl.line("setup");
        return say(&format!(
            "\n`{example}` lists the tools that can be told of it"
        ));
    }
    say("\nThe tools that are installed here are told of it by:\n")?;
    let region = wish.region.as_deref();
    let region = region.map_or_else(String::new, |it| format!(" --region {it}"));
    for (tool, file) in installed {
        let write = if file { " --write" } else { "" };
        let rest = format!("setup {tool} {}{region}{write}", wish.profile);
        say(&format!("  {}", ctl.line(&rest)))?;
    }
    Ok(())
}
