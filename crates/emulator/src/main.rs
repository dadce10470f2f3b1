//! `stsd-emulator`: read the command line, start the cloud, wait to be stopped.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use stsd_emulator::{
    Emulator,
    account::model::BUILT_IN,
    cli as arguments,
    cli::{Command, HELP, Run},
    shutdown as stop,
};

fn main() -> ExitCode {
    let done = arguments::parse(lexopt::Parser::from_env())
        .context("see stsd-emulator --help")
        .and_then(|command| match command {
            Command::Help => print(HELP),
            Command::Version => print(concat!("stsd-emulator ", env!("CARGO_PKG_VERSION"), "\n")),
            Command::PrintWorld => print(BUILT_IN),
            Command::Run(run) => emulate(&run),
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "stsd-emulator: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn emulate(run: &Run) -> anyhow::Result<()> {
    let file = run.world.clone().unwrap_or_default();
    let world = run.world().with_context(|| file.display().to_string())?;
    let stop = stop::Stop::listen(run.exit_with_stdin)?;
    let emulator = Emulator::start(world, run.options())?;
    print(&format!("{}\n", emulator.ready_line()))?;
    stop.wait();
    Ok(())
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
