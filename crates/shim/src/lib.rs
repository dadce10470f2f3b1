//! `sts-shim`: the program that SDKs run to get credentials. Parse, ask, print one
//! document, exit. `stdout` is a protocol: one complete document, or a failure; on success
//! `stderr` stays empty, because one consumer reads both as one stream.

mod arguments;

use std::{env, ffi::OsString, panic, process, time::Duration};

use arguments::{Action, Options};
use rustix::{fd::BorrowedFd, io, stdio};
use stsd_client::{Client, Error};
use stsd_document::{Credentials, Printable};

/// The patience without an option.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(10);

/// Runs the program with the arguments behind its name, and returns the exit code.
pub fn run(typed: impl Iterator<Item = OsString>) -> u8 {
    panic::set_hook(Box::new(|_| {
        complain("sts-shim: this is a bug in sts-shim; please report it");
        process::exit(70);
    }));
    let action = match arguments::parse(lexopt::Parser::from_args(typed)) {
        Ok(action) => action,
        Err(error) => {
            let why = arguments::why(error);
            complain(&format!(
                "sts-shim: {why}; see sts-shim --help [wrong-usage]"
            ));
            return 2;
        }
    };
    match action {
        Action::Help => print(arguments::HELP),
        Action::Version => print(concat!("sts-shim ", env!("CARGO_PKG_VERSION"), "\n")),
        Action::Print(options) => hand_over(options),
    }
}

fn hand_over(options: Options) -> u8 {
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
    let (client, patience) = match options.patience {
        Some(patience) => (client, patience),
        None => (client.with_default_patience(), DEFAULT_PATIENCE),
    };
    match client.credentials(&profile, options.minimum_life, patience) {
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
                // The process ends without wiping: the kernel clears the pages of a process
                // before another one gets them.
                Ok(document) => process::exit(i32::from(print(&document))),
                Err(why) => refuse(&client, &Error::Protocol(format!("the answer holds {why}"))),
            }
        }
        Err(error) => refuse(&client, &error),
    }
}

/// Prints the error and its hint as one line, because nearly every SDK shows that line to its user.
/// Returns the exit code.
fn refuse(client: &Client, error: &Error) -> u8 {
    let mut line = format!("sts-shim: {error}");
    // The profile of this name may be the other daemon's.
    let is_refusal = matches!(error, Error::Refused(_));
    let daemon = is_refusal.then(|| client.which_of_two()).flatten();
    for part in [daemon.as_deref().unwrap_or_default(), error.hint()] {
        if !part.is_empty() {
            line.push_str("; ");
            line.push_str(part);
        }
    }
    complain(&line);
    error.exit_code()
}

/// Writes the document to standard output, nearly always with one `write`, and returns the exit
/// code. A document that a full disk or a limit has cut is a failure: its reader has to check the
/// exit code.
fn print(document: &str) -> u8 {
    match write(stdio::stdout(), document.as_bytes()) {
        Ok(()) => 0,
        Err(error) => {
            complain(&format!(
                "sts-shim: the document cannot be written: {error}"
            ));
            1
        }
    }
}

/// Prints one line, which may quote texts of a daemon and of the caller.
fn complain(line: &str) {
    let line = format!("{}\n", Printable(line));
    let _ = write(stdio::stderr(), line.as_bytes());
}

/// Writes without the standard library's buffer, which is of no use for a single write.
fn write(output: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match io::write(output, bytes) {
            Ok(0) => return Err(io::Errno::IO),
            Ok(count) => bytes = &bytes[count..],
            Err(io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
