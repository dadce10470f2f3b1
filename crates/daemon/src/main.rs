//! `stsd`: the log and the arguments, and then one of the actions.

mod actions;

use std::{alloc::System, env, process::ExitCode};

use anyhow::Result;
use stsd::{
    RunError,
    cli::{self, Action},
    config::ConfigErrors,
    platform::{log, log::LogFormat},
    sts::{caller_identity::CallerIdentityError, connectivity::ConnectError},
};
use stsd_codes::Code;
use zeroizing_alloc::ZeroAlloc;

/// Wipes all freed memory, also that of libraries that handle a secret.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let variable = |name| env::var(name).unwrap_or_default();
    let log_format = log::init(&variable("RUST_LOG"), &variable("STSD_LOG_FORMAT"));
    let complain = |error: &str| log::print_error(error, log_format);
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
    match perform(action, log_format) {
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

fn perform(action: Action, log_format: LogFormat) -> Result<ExitCode> {
    match action {
        Action::Check(options, scope, output) => return actions::check(&options, scope, output),
        Action::Help => actions::print(cli::HELP),
        Action::Schema => actions::print(cli::SCHEMA),
        Action::Version => actions::print(concat!("stsd ", env!("CARGO_PKG_VERSION"), "\n")),
        Action::Connect(options) => actions::connect(&options),
        Action::CallerIdentity(options) => actions::caller_identity(&options),
        Action::Run(options) => actions::run(&options, log_format == LogFormat::Journal),
    }?;
    Ok(ExitCode::SUCCESS)
}
