//! `stsd-emulator`: arguments, signals, and the line that says where it listens.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Result;
use stsd_emulator::options::{self, Action};
use stsd_emulator::{Emulator, Setup};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let outcome = match options::parse(lexopt::Parser::from_env()) {
        Ok(Action::Print(text)) => io::stdout().write_all(text.as_bytes()).map_err(Into::into),
        Ok(Action::Serve(setup, exit_with_stdin)) => serve(*setup, exit_with_stdin),
        Err(error) => {
            let _ = writeln!(io::stderr(), "stsd-emulator: {error:#}; see --help");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "stsd-emulator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve(setup: Setup, exit_with_stdin: bool) -> Result<()> {
    let emulator = Emulator::bind(setup).await?;
    let (sts, oss) = emulator.addresses()?;
    let line = format!("{{\"sts\":\"http://{sts}\",\"oss\":\"http://{oss}\"}}\n");
    io::stdout().write_all(line.as_bytes())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    emulator
        .run(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = stdin_ends(), if exit_with_stdin => {}
            }
        })
        .await?;
    // A thread may still be reading standard input; it must not keep us.
    std::process::exit(0)
}

async fn stdin_ends() {
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; 64];
    while stdin.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}
