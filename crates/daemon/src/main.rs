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
    RunError,
    cli::{self, Action},
    config::ConfigErrors,
    platform::{log, nonblocking_stderr::NonBlockingWriter},
    sts::{caller_identity::CallerIdentityError, connectivity::ConnectError},
};
use stsd_codes::Code;
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
            complain(&format!(
                "{error:#}; see stsd --help [{}]",
                Code::WrongUsage
            ));
            return ExitCode::from(2);
        }
    };
    match perform(action, in_journal) {
        Ok(code) => code,
        Err(error) => {
            // Not a log line: no filter may hide the reason of a failed start.
            // Each mistake of a configuration, and a failed connection to STS, has a code of its own.
            let has_code = error.is::<ConfigErrors>()
                || error.is::<ConnectError>()
                || error.is::<CallerIdentityError>()
                || matches!(error.downcast_ref(), Some(RunError::Config(_)));
            match has_code {
                true => complain(&format!("{error:#}")),
                false => complain(&format!("{error:#} [{}]", Code::StartFailed)),
            }
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
