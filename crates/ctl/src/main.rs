//! `stsctl`: parses the arguments, runs one command, prints an error and its hint, and
//! returns the exit code.

mod boot_time;
mod cli;
mod commands;
mod config_file;
mod config_fragments;
mod edit;
mod env_vars;
mod error;
mod help;
mod http_exchange;
mod http_listener;
mod report;
mod secret_store;
mod similar_name;
mod subprocess;
mod systemd;
mod term;
mod token_file;
mod tool_name;
mod waiting;

use std::{
    env,
    io::{self, Write as _},
    process::{self, ExitCode},
};

use clap::FromArgMatches as _;
use stsd_client::Error;
use stsd_codes::Code;
use stsd_document::printable_lines;

use crate::{
    cli::Arguments,
    commands::completion,
    error::{CliError, UsageError},
    term::{stdout, style},
};

fn main() -> ExitCode {
    if let Some(words) = completion::words_to_complete(env::args_os()) {
        completion::print_profiles(&words);
        return ExitCode::SUCCESS;
    }
    let parsed = help::command().try_get_matches();
    let outcome = match parsed.and_then(|it| Arguments::from_arg_matches(&it)) {
        Ok(arguments) => commands::run(arguments),
        Err(wrong) if wrong.use_stderr() => usage_error(&wrong),
        // A page of help is a result like any other.
        Err(page) => {
            let page = style::strip_if_needed(page.render().ansi().to_string(), &io::stdout());
            stdout::write(page.as_bytes()).map(|()| ExitCode::SUCCESS)
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            stdout::exit_on_broken_pipe(&error);
            let known = error.downcast_ref::<Error>();
            let ours = error.downcast_ref::<CliError>();
            let hint = known.map(Error::hint).or(ours.map(|it| &*it.hint));
            let usage = error.is::<UsageError>().then_some(2);
            let message = with_code(format!("{error:#}"), usage.is_some());
            style::print_error(&message, hint.unwrap_or_default());
            let code = usage.or(ours.map(|it| it.exit_code));
            ExitCode::from(code.or(known.map(Error::exit_code)).unwrap_or(1))
        }
    }
}

/// Returns a message that has a code.
fn with_code(message: String, is_usage: bool) -> String {
    let has_code = |it: &Code| message.contains(&format!("[{it}]"));
    if Code::ALL.iter().any(has_code) {
        return message;
    }
    let code = match is_usage {
        true => Code::WrongUsage,
        false => Code::CommandFailed,
    };
    format!("{message} [{code}]")
}

/// Prints an error of the command line, which quotes arguments, and ends the program.
fn usage_error(wrong: &clap::Error) -> ! {
    let styled = wrong.render().ansi().to_string();
    let plain = wrong.render().to_string();
    let escaped = printable_lines(&plain);
    // An escape sequence of an argument is none of ours.
    let text = match escaped == plain {
        true => style::strip_if_needed(styled, &io::stderr()),
        false => escaped,
    };
    let (error, help) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let text = format!("{error} [{}]\n\n{help}", Code::WrongUsage);
    let _ = io::stderr().write_all(text.as_bytes());
    process::exit(wrong.exit_code())
}
