//! `stsd-oss-client`: read the command line, make one call, print its result.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use stsd_emulator::client::{self, Command, HELP};

fn main() -> ExitCode {
    let command = match client::parse(lexopt::Parser::from_env()) {
        Ok(command) => command,
        Err(error) => {
            complain(&format!("{error}; see stsd-oss-client --help"));
            return ExitCode::from(2);
        }
    };
    let done = match command {
        Command::Help => print(HELP),
        Command::Version => print(concat!("stsd-oss-client ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Call(call) => {
            client::run(&call, &mut io::stdin().lock(), &mut io::stdout().lock())
                .map_err(anyhow::Error::from)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .context("cannot print")
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "stsd-oss-client: {text}");
}
