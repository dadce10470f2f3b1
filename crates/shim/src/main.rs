//! `sts-shim`: the program that SDKs run to get credentials. Parse, ask, print one
//! document, exit. `stdout` is a protocol: one complete document or nothing; on success
//! `stderr` stays empty, because one consumer reads both as one stream.

mod arguments;

use std::{
    env,
    io::{self, Write as _},
    panic,
    process::{ExitCode, exit},
};

use arguments::{Action, Options};
use stsd_client::{Client, Error};
use stsd_document::Credentials;

fn main() -> ExitCode {
    panic::set_hook(Box::new(|_| {
        complain("sts-shim: this is a bug in sts-shim; please report it");
        exit(70);
    }));
    let action = match arguments::parse(lexopt::Parser::from_env()) {
        Ok(action) => action,
        Err(error) => {
            complain(&format!("sts-shim: {error}; see sts-shim --help"));
            return ExitCode::from(2);
        }
    };
    match action {
        Action::Help => print(arguments::HELP),
        Action::Version => print(concat!("sts-shim ", env!("CARGO_PKG_VERSION"), "\n")),
        Action::Print(options) => hand_over(options),
    }
}

fn hand_over(options: Options) -> ExitCode {
    let profile = options
        .profile
        .or_else(|| {
            env::var("STSD_PROFILE")
                .ok()
                .filter(|name| !name.is_empty())
        })
        .unwrap_or_else(|| "default".to_owned());
    let client = options
        .socket
        .map_or_else(Client::from_environment, Client::at);
    match client.credentials(&profile, options.minimum_life, options.patience) {
        Ok(answer) => {
            let held = &answer.credentials;
            let credentials = Credentials {
                access_key_id: &held.access_key_id,
                access_key_secret: &held.access_key_secret,
                security_token: &held.security_token,
                expiration_unix_seconds: held.expiration_unix_seconds,
                issued_unix_seconds: held.issued_unix_seconds,
            };
            match credentials.render(options.format) {
                Ok(document) => print(&document),
                Err(why) => refuse(&Error::Protocol(format!("the answer holds {why}"))),
            }
        }
        Err(error) => refuse(&error),
    }
}

/// One line with what is wrong and what to do. Nearly every SDK quotes it to its user.
fn refuse(error: &Error) -> ExitCode {
    let hint = error.hint();
    let separator = if hint.is_empty() { "" } else { "; " };
    let line = format!("sts-shim: {error}{separator}{hint}");
    complain(&line.replace(char::is_control, " "));
    ExitCode::from(error.exit_code())
}

/// One write, so that a reader sees everything or nothing. A reader that left is not our
/// failure to report, but the exit code must not claim success.
fn print(document: &str) -> ExitCode {
    match io::stdout().lock().write_all(document.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!(
                "sts-shim: the document cannot be written: {error}"
            ));
            ExitCode::from(1)
        }
    }
}

fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
