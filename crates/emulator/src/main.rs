//! `stsd-emulator`: parses the command line, starts the emulator, and waits for the end.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use stsd_emulator::{
    Emulator,
    account::DEFAULT_MODEL,
    cli::{self, Command, HELP, RunOptions},
    shutdown::Shutdown,
};

fn main() -> ExitCode {
    let result = cli::parse(lexopt::Parser::from_env())
        .context("see stsd-emulator --help")
        .and_then(|command| match command {
            Command::Help => print(HELP),
            Command::Version => print(concat!("stsd-emulator ", env!("CARGO_PKG_VERSION"), "\n")),
            Command::PrintAccountModel => print(DEFAULT_MODEL),
            Command::Run(options) => run(&options),
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = printable(&format!("{error:#}"));
            let _ = writeln!(io::stderr(), "stsd-emulator: {text}");
            ExitCode::from(2)
        }
    }
}

/// Escapes the characters of an error that a terminal interprets: the error may quote an argument or a
/// file. The emulator uses no crate of the daemon, so that it has this function of its own.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\\' | '"' | '\'' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}

fn run(options: &RunOptions) -> anyhow::Result<()> {
    let file = options.account_file.clone().unwrap_or_default();
    let account = options
        .account_model()
        .with_context(|| file.display().to_string())?;
    let shutdown = Shutdown::listen(options.exit_with_stdin)?;
    let emulator = Emulator::start(account, options.emulator_options())?;
    print(&format!("{}\n", emulator.ready_line()))?;
    shutdown.wait();
    Ok(())
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
