//! `stsd`: the log and the arguments, and then one of the actions.

mod actions;

use std::{
    alloc::System,
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Result;
use stsd::{
    cli::{self, Action},
    platform::{log, nonblocking_stderr::NonBlockingWriter},
};
use stsd_document::printable_lines;
use zeroizing_alloc::ZeroAlloc;

/// Wipes all freed memory, also that of libraries that handle a secret.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let in_journal = log::init(&env::var("RUST_LOG").unwrap_or_default());
    let action = match cli::parse(lexopt::Parser::from_env()) {
        Ok(action) => action,
        Err(error) => {
            complain(&format!("{error:#}; see stsd --help"));
            return ExitCode::from(2);
        }
    };
    match perform(action, in_journal) {
        Ok(code) => code,
        Err(error) => {
            // Not a log line: no filter may hide the reason of a failed start.
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints an error to stderr. Its lines may quote files and other programs.
fn complain(error: &str) {
    let line = format!("stsd: {}\n", printable_lines(error));
    let _ = NonBlockingWriter::new(io::stderr()).write_all(line.as_bytes());
}

fn perform(action: Action, in_journal: bool) -> Result<ExitCode> {
    match action {
        Action::Check(options, output) => return actions::check(&options, output),
        Action::Help => actions::print(cli::HELP),
        Action::Version => actions::print(concat!("stsd ", env!("CARGO_PKG_VERSION"), "\n")),
        Action::Connect(options) => actions::connect(&options),
        Action::CallerIdentity(options) => actions::caller_identity(&options),
        Action::Run(options) => actions::run(&options, in_journal),
    }?;
    Ok(ExitCode::SUCCESS)
}
