//! `stsctl`: the human's command. What was typed → what it means → exit code; errors are
//! printed in one place, with their hint on a line of its own.

mod arguments;
mod complaint;
mod configuration;
mod demo;
mod doctor;
mod environment;
mod exec;
mod http_exchange;
mod import;
mod init;
mod keeper;
mod lease;
mod log;
mod metrics;
mod output;
mod pages;
mod place;
mod program;
mod setup;
mod shell;
mod status;
mod terminal;
mod token_file;
mod who;

use std::{fmt, io, process::ExitCode};

use anyhow::Result;
use arguments::{Arguments, Command};
use clap::Parser as _;
use complaint::Complaint;
use output::say;
use stsd_client::{Client, Credentials, Error};

fn main() -> ExitCode {
    let outcome = match Arguments::try_parse() {
        Ok(arguments) => run(arguments),
        Err(wrong) if wrong.use_stderr() => wrong.exit(),
        // A page of help is a result like any other.
        Err(page) => {
            let page = terminal::fit(page.render().ansi().to_string(), &io::stdout());
            output::write(page.as_bytes()).map(|()| ExitCode::SUCCESS)
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            output::end_with_its_reader(&error);
            let known = error.downcast_ref::<Error>();
            let ours = error.downcast_ref::<Complaint>();
            let hint = known.map(Error::hint).or(ours.map(|it| it.hint));
            terminal::complain(&format!("{error:#}"), hint.unwrap_or_default());
            let usage = error.is::<Usage>().then_some(2);
            let code = usage.or(ours.map(|it| it.exit_code));
            ExitCode::from(code.or(known.map(Error::exit_code)).unwrap_or(1))
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let socket = arguments.socket;
    let client = socket
        .clone()
        .map_or_else(Client::from_environment, Client::at);
    match arguments.command {
        // Some things are wrong without any command having failed.
        Command::Doctor { json } => {
            return Ok(doctor::examine(&client, socket.as_deref(), json)?.exit_code());
        }
        Command::Status(typed) => return status::run(&client, &typed),
        Command::Log(typed) => log::run(&client, &typed),
        Command::Metrics => say(metrics::text(&client.status()?).trim_end()),
        Command::Get {
            profile,
            min_life,
            patience,
        } => show(
            &client
                .credentials(&profile, min_life, patience)?
                .credentials,
        ),
        Command::Refresh { profile, patience } => {
            client.refresh(&profile, patience)?;
            say(&format!("{profile}: renewed"))
        }
        Command::Url { profile, .. } => match profile {
            Some(profile) => say(client.url(&profile)?.url.expose()),
            None => {
                client.rotate_urls()?;
                say("all URLs have changed; programs have to be given them anew")
            }
        },
        Command::Exec { given, line } => {
            let changes = environment::changes(&client, socket.as_deref(), &given)?;
            return Ok(exec::become_program(&line, changes));
        }
        Command::Env { given, shell } => {
            let changes = environment::changes(&client, socket.as_deref(), &given)?;
            shell::print(&changes, shell)
        }
        Command::Import(typed) => return import::run(&typed),
        Command::Init(typed) => return init::run(&client, socket.as_deref(), &typed),
        Command::Setup(typed) => return setup::run(&client, socket.as_deref(), &typed),
        Command::Lease {
            profile,
            policy,
            ttl,
            socket,
            patience,
        } => lease::hold(
            &client,
            &lease::Wanted {
                profile,
                policy,
                ttl,
                socket,
                patience,
            },
        ),
        Command::Reload => {
            client.reload()?;
            say("configuration read again")
        }
        Command::Demo => demo::run(),
        Command::Completions { shell } => pages::completions(shell),
        Command::Man { directory } => pages::manual(directory.as_deref()),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// What was typed cannot be done; the exit code is that of a wrong command line.
#[derive(Debug)]
struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A human asked for the secrets, so here they are; nobody else is told.
fn show(credentials: &Credentials) -> Result<()> {
    let expiration = jiff::Timestamp::from_second(credentials.expiration_unix_seconds)?;
    let document = serde_json::json!({
        "access_key_id": credentials.access_key_id,
        "access_key_secret": credentials.access_key_secret.expose(),
        "security_token": credentials.security_token.expose(),
        "expiration": expiration.to_string(),
    });
    say(&serde_json::to_string_pretty(&document)?)
}
