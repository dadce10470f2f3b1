//! `stsd-emulator`: read the command line, start the cloud, wait to be stopped.

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use stsd_emulator::arguments::{self, Command, HELP, Run};
use stsd_emulator::world::{BUILT_IN, World};
use stsd_emulator::{Emulator, Options};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let done = arguments::parse(lexopt::Parser::from_env())
        .context("see stsd-emulator --help")
        .and_then(|command| match command {
            Command::Help => print(HELP),
            Command::Version => print(concat!("stsd-emulator ", env!("CARGO_PKG_VERSION"), "\n")),
            Command::PrintWorld => print(BUILT_IN),
            Command::Run(run) => emulate(run),
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "stsd-emulator: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn emulate(run: Run) -> anyhow::Result<()> {
    let world = match &run.world {
        None => World::built_in(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(anyhow::Error::from)
            .and_then(|text| Ok(World::parse(&text)?))
            .with_context(|| path.display().to_string())?,
    };
    let defaults = Options::default();
    let options = Options {
        sts: run.sts.unwrap_or(defaults.sts),
        oss: run.oss.unwrap_or(defaults.oss),
        session_life: run.session_life,
        clock: defaults.clock,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let emulator = Emulator::start(world, options)?;
        print(&format!("{}\n", emulator.ready_line()))?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = end_of_stdin(), if run.exit_with_stdin => {}
        }
        Ok(())
    })
}

/// Reads on a thread of its own: standard input has no events to wait for.
async fn end_of_stdin() {
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock().by_ref(), &mut io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
