//! The commands of `stsctl`, one module each.

pub(crate) mod completion;
mod demo;
mod doctor;
mod env;
mod exec;
mod explain;
mod get;
mod import;
mod init;
mod lease;
mod log;
mod manual;
mod metrics;
mod next_steps;
mod setup;
mod status;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Result;
use stsd_client::{Client, Error, FailureKind};

use crate::{
    cli::{Arguments, Command, ExecOptions},
    env_vars::{self, Delivery, EnvEdits, Request},
    error::CliError,
    http_listener, similar_name,
    term::{duration::format_duration, stdout::print_line, style},
    waiting::with_waiting_line,
};

/// The patience for credentials that may be in the daemon's memory, and for a call to STS.
const CREDENTIALS_PATIENCE: Duration = Duration::from_secs(10);
const RENEWAL_PATIENCE: Duration = Duration::from_secs(15);

/// Runs the command of a command line.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    let socket = arguments.socket;
    let client = socket
        .clone()
        .map_or_else(Client::from_environment, Client::at);
    let client = match arguments.command.typed_patience() {
        Some(_) => client,
        None => client.with_default_patience(),
    };
    let profile = arguments.command.profile().map(str::to_owned);
    let outcome = run_command(&client, socket.as_deref(), arguments.command);
    outcome.map_err(|error| match profile {
        Some(typed) => with_similar_profile(&client, &typed, error),
        None => error,
    })
}

fn run_command(client: &Client, socket: Option<&Path>, command: Command) -> Result<ExitCode> {
    match command {
        // Some things are wrong without any command having failed.
        Command::Doctor { json } => {
            return Ok(doctor::run(client, json)?.exit_code());
        }
        Command::Status(typed) => return status::run(client, &typed),
        Command::Log(typed) => log::run(client, &typed),
        Command::Explain(typed) => explain::run(&typed),
        Command::Metrics => metrics::print(client),
        Command::Get {
            profile,
            min_life,
            patience,
        } => {
            let patience = patience.unwrap_or(CREDENTIALS_PATIENCE);
            let request = || client.credentials(&profile, min_life, patience);
            get::show(&with_waiting_line(client, &profile, request)?.credentials)
        }
        Command::Refresh { profile, patience } => {
            let request = || client.refresh(&profile, patience.unwrap_or(RENEWAL_PATIENCE));
            with_waiting_line(client, &profile, request)?;
            print_line(&format!("{profile}: renewed{}", validity(client, &profile)))
        }
        Command::Url { profile, .. } => match profile {
            Some(profile) => print_line(client.url(&profile)?.url.expose()),
            None => {
                client.rotate_urls()?;
                print_line("all URLs have changed; programs have to be given them anew")
            }
        },
        Command::Exec { options, command } => {
            let edits = edits(client, socket, &options)?;
            return Err(exec::exec(&command, edits).into());
        }
        Command::Env { options, shell } => {
            let edits = edits(client, socket, &options)?;
            env::print(&edits, shell)
        }
        Command::Import(typed) => return import::run(client, socket, &typed),
        Command::Init(typed) => return init::run(client, socket, &typed),
        Command::Setup(typed) => return setup::run(client, &typed),
        Command::Lease {
            profile,
            policy,
            ttl,
            socket,
            patience,
        } => lease::run(
            client,
            &lease::LeaseOptions {
                profile,
                policy,
                ttl,
                socket,
                patience: patience.unwrap_or(RENEWAL_PATIENCE),
            },
        ),
        Command::Reload => {
            client.reload()?;
            print_line("configuration read again")?;
            warn_of_http_endpoint(client);
            Ok(())
        }
        Command::Demo => demo::run(),
        Command::Completions { shell } => completion::print_script(shell),
        Command::Man { directory } => manual::manual(directory.as_deref()),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the remaining lifetime of a profile's session for a message; empty if the daemon does not
/// report the lifetime.
fn validity(client: &Client, name: &str) -> String {
    let profiles = client.status().map(|it| it.profiles).unwrap_or_default();
    let profile = profiles.iter().find(|it| it.name == name);
    let left = profile.and_then(|it| it.remaining_seconds);
    left.map_or_else(String::new, |left| {
        format!(", valid for {}", format_duration(left))
    })
}

/// Returns the error of a profile that the daemon does not know with a visible profile of a similar
/// name; any other error as it is.
fn with_similar_profile(client: &Client, typed: &str, error: anyhow::Error) -> anyhow::Error {
    let is_unknown = |it: &Error| {
        let kinds = [FailureKind::UnknownProfile, FailureKind::NotAllowed];
        matches!(it, Error::Refused(failure) if kinds.contains(&failure.kind))
    };
    let Some(known) = error.downcast_ref().filter(|it| is_unknown(it)) else {
        return error;
    };
    let profiles = client.status().map_or(Vec::new(), |it| it.profiles);
    let names = profiles.iter().map(|it| it.name.as_str());
    let Some(hint) = similar_name::hint(typed, names) else {
        return error;
    };
    let similar = CliError {
        text: known.to_string(),
        hint: hint.into(),
        exit_code: known.exit_code(),
    };
    similar.into()
}

/// Warns of an HTTP endpoint that does not listen, or whose URLs have ended. The configuration is in
/// force nevertheless.
fn warn_of_http_endpoint(client: &Client) {
    for problem in http_listener::fetch(client)
        .iter()
        .flat_map(|it| &it.problems)
    {
        style::print_warning(&problem.message, &problem.hint);
    }
}

/// Returns the edits of the environment for a profile.
fn edits(client: &Client, socket: Option<&Path>, options: &ExecOptions) -> Result<EnvEdits> {
    let request = request(options);
    with_waiting_line(client, &options.profile, || {
        env_vars::edits(client, socket, &request)
    })
}

fn request(options: &ExecOptions) -> Request<'_> {
    let delivery = if options.fixed {
        Delivery::StaticKeys
    } else {
        Delivery::Url
    };
    Request {
        profile: &options.profile,
        delivery,
        minimum_lifetime: options.minimum_lifetime(),
        patience: options.patience.unwrap_or(CREDENTIALS_PATIENCE),
    }
}
