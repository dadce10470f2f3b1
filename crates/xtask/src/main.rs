//! The project's chores, each a command of `cargo xtask`. Standard library only, so that it
//! is built in a moment on a fresh machine.

mod bench;
mod clients;
mod dist;
mod fuzz;
mod packages;
mod pictures;
mod steps;
mod supply;
mod systemd;

use std::{env, process::ExitCode};

use bench::Depth;

const HELP: &str = "\
Usage: cargo xtask COMMAND

  demo          build everything and show it against an emulated cloud
  test          everything the gate checks: format, lints, guards, docs, tests, real SDKs,
                this machine's systemd; --systemd checks only the latter, --systemd full
                systemd 252, 254 and 257, for longer, and an emulated machine
  simulate      the refresh engine in simulated months; --seeds N runs more of them than the
                gate does, --seed S repeats one
  fuzz          every fuzz target, a minute each; --seconds N or --runs N for each instead
  soak          ten minutes of uploads with sessions of a minute, in Python and Node
  dist          a package for Debian and a static tarball, with checksums and a bill of what is
                in them, below target/dist/out; built twice and compared, or with --once not
  layout        which functions of the daemon and of the shim lie side by side where they are given
                away: those that callgrind sees run; for after a change of the compiler or of what
                they do
  pictures      the pictures of docs/pictures, of the texts beside them
  bench         what the programs cost beside others that do the same, as ratios, below
                target/bench; --write-docs into docs/performance.md as well, --quick in less than
                two minutes, --budget only what the gate checks of it
  compare       the official libraries beside us; writes the table of docs/comparison.md
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["demo"] => steps::demo(),
        ["test"] => steps::test(),
        ["test", "--systemd"] => steps::systemd(systemd::Depth::Gate),
        ["test", "--systemd", "full"] => steps::systemd(systemd::Depth::Full),
        ["simulate"] => steps::simulate(None),
        ["simulate", "--seeds", count] => steps::simulate(Some(("SIMULATION_SEEDS", count))),
        ["simulate", "--seed", seed] => steps::simulate(Some(("SIMULATION_SEED", seed))),
        ["fuzz"] => steps::fuzz(Ok(fuzz::Bound::Seconds(60))),
        ["fuzz", option, number] => steps::fuzz(fuzz::Bound::parse(option, number)),
        ["soak"] => steps::soak(),
        ["compare"] => steps::compare(),
        ["pictures"] => pictures::draw(),
        ["bench"] => steps::bench(Depth::Full),
        ["bench", "--quick"] => steps::bench(Depth::Quick),
        ["bench", "--budget"] => steps::bench(Depth::Budget),
        ["bench", "--write-docs"] => steps::bench(Depth::Documentation),
        ["layout"] => bench::layout(),
        ["dist"] => dist::dist(false),
        ["dist", "--once"] => dist::dist(true),
        // Not for humans: how the stories come to packages of programs that are there.
        [
            "dist",
            "--from",
            programs,
            "--into",
            out,
            "--version",
            version,
        ] => dist::from(programs, out, version),
        _ => {
            steps::say(HELP);
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            steps::say(&format!("\nxtask: {error}"));
            ExitCode::FAILURE
        }
    }
}
