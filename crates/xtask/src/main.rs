//! The project's own commands, each of them `cargo xtask COMMAND`. Standard library only, so
//! that it compiles in a moment on a fresh machine.

mod bench;
mod clients;
mod dist;
mod format;
mod fuzz;
mod gate;
mod guards;
mod packages;
mod process;
mod prose;
mod supply;
mod systemd;
mod tests;

use std::{env, process::ExitCode};

use bench::Depth;
use gate::Tier;
use process::say;

const HELP: &str = "\
Usage: cargo xtask COMMAND

  check         while you work: format, lints, unit tests, golden frames, dependency guards
  e2e           the programs, and the stories whose names contain one of the arguments, or all
  test          what the gate runs: check, documentation, stories with the official SDKs, this
                machine's systemd; --full runs everything else as well, --from STEP begins there
  stress        stories beside one busy loop for each core; --rounds N, then names as for e2e
  fmt           formats everything
  prose         finds words that docs/contributing/style.md excludes, in comments and string
                literals; with arguments, only in files whose paths begin with one of them
  demo          builds the programs and shows them against an emulated cloud
  simulate      the refresh engine in simulated months; --seeds N runs more of them than the
                gate does, --seed S repeats one
  fuzz          every fuzz target, a minute each; --seconds N or --runs N for each instead
  soak          ten minutes of uploads with sessions of a minute, in Python and Node
  systemd       the checks under this machine's systemd; --full under 252, 254 and 257 and in an
                emulated machine as well
  dist          packages, with checksums and a bill of materials, below target/dist/out; built
                twice and compared, or with --once not
  bench         what the programs cost beside others that do the same, as ratios, below
                target/bench; --write-docs into docs/performance.md as well, --quick in less than
                two minutes, --budget only what the gate checks of it
  compare       the official libraries beside stsd; writes the table of docs/comparison.md
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["check"] => gate::run(Tier::Check, None),
        ["check", "--from", step] => gate::run(Tier::Check, Some(step)),
        ["test"] => gate::run(Tier::Test, None),
        ["test", "--from", step] => gate::run(Tier::Test, Some(step)),
        ["test", "--full"] => gate::run(Tier::Full, None),
        ["test", "--full", "--from", step] => gate::run(Tier::Full, Some(step)),
        ["e2e", ref names @ ..] => tests::e2e(names),
        ["stress", "--rounds", rounds, ref names @ ..] => match rounds.parse() {
            Ok(rounds) => tests::stress(rounds, names),
            Err(_) => Err(format!("--rounds takes a number, not {rounds:?}")),
        },
        ["stress", ref names @ ..] => tests::stress(3, names),
        ["fmt"] => format::apply(),
        ["prose", ref prefixes @ ..] => prose::check(prefixes),
        ["demo"] => gate::demo(),
        ["simulate"] => tests::simulate(None),
        ["simulate", "--seeds", count] => tests::simulate(Some(("SIMULATION_SEEDS", count))),
        ["simulate", "--seed", seed] => tests::simulate(Some(("SIMULATION_SEED", seed))),
        ["fuzz"] => fuzz::run_all(Ok(fuzz::Bound::Seconds(60))),
        ["fuzz", option, number] => fuzz::run_all(fuzz::Bound::parse(option, number)),
        ["soak"] => tests::soak(),
        ["systemd"] => systemd::command(systemd::Depth::Gate),
        ["systemd", "--full"] => systemd::command(systemd::Depth::Full),
        ["compare"] => tests::compare(),
        ["bench"] => bench::measure(Depth::Full),
        ["bench", "--quick"] => bench::measure(Depth::Quick),
        ["bench", "--budget"] => bench::measure(Depth::Budget),
        ["bench", "--write-docs"] => bench::measure(Depth::Documentation),
        ["dist"] => dist::dist(false),
        ["dist", "--once"] => dist::dist(true),
        // Not for people: the stories pack programs that are built already.
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
            say(HELP);
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("\nxtask: {error}"));
            ExitCode::FAILURE
        }
    }
}
