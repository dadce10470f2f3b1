//! The project's own commands, each of them `cargo xtask COMMAND`. Standard library only, so
//! that it compiles in a moment on a fresh machine.

mod aarch64;
mod apt;
mod attack;
mod bench;
mod clients;
mod dist;
mod format;
mod fuzz;
mod gate;
mod guards;
mod live;
mod macos;
mod nextest;
mod notes;
mod old_release;
mod process;
mod prose;
mod published_crates;
mod rust_target;
mod supply_chain;
mod systemd;
mod tier;

use std::{env, process::ExitCode};

use bench::Scope;
use dist::Extent;
use process::say;
use tier::Tier;

const HELP: &str = "\
Usage: cargo xtask COMMAND

  check         while you work: format, lints, unit tests, golden frames, dependency guards
  e2e           builds the programs, and runs the stories whose names contain one of the
                arguments, or all
  test          the gate: check, documentation, stories with the official SDKs, this machine's
                systemd; --full runs all other steps too, --from STEP begins there
  stress        stories beside one busy loop for each core; --rounds N, then names as for e2e
  fmt           formats the workspace
  prose         finds words that docs/contributing/style.md excludes, in comments and string
                literals; with arguments, only in files whose paths begin with one of them
  demo          builds the programs, and runs stsctl demo with the emulator
  live          the real cloud, once, with a user's own key, role and bucket from a file: AssumeRole,
                put, get, one refusal, one renewal, one deliberate error; prints a report without
                secrets and names; --example prints such a file
  simulate      the refresh engine over simulated months; --seeds N runs more seeds than the
                gate does, --seed S repeats one; --fleet prints the figures of machines that share a
                quota
  fuzz          each fuzz target for a minute, or for --seconds N or --runs N
  attack        users without a rule, and users of one rule, against a system daemon, as root; prints
                the memory, latencies and refusals that they cause, in four minutes; with arguments,
                only the attacks whose names contain one of them
  soak          ten minutes of uploads with sessions of a minute, in Python and Node
  systemd       the checks under this machine's systemd; --full also under 247, 252, 254 and 257,
                and in an emulated machine
  dist          packages for x86-64 and ARM and a container image, with checksums and a bill of
                materials, in target/dist/out; built twice and compared, or once with --once;
                --native builds once, for this machine's architecture
  bench         the costs of the programs as ratios to other programs, in target/bench;
                --write-docs also updates docs/performance.md, --quick takes less than two
                minutes, --budget only runs the check of the gate
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
        ["e2e", ref names @ ..] => nextest::e2e(names),
        ["stress", "--rounds", rounds, ref names @ ..] => match rounds.parse() {
            Ok(rounds) => nextest::stress(rounds, names),
            Err(_) => Err(format!("--rounds takes a number, not {rounds:?}")),
        },
        ["stress", ref names @ ..] => nextest::stress(3, names),
        ["fmt"] => format::apply(),
        ["prose", ref prefixes @ ..] => prose::check(prefixes),
        ["demo"] => gate::demo(),
        ["live", argument] => live::live(argument),
        ["simulate"] => nextest::simulate(None),
        ["simulate", "--fleet"] => nextest::simulate_fleet(),
        ["simulate", "--seeds", count] => nextest::simulate(Some(("SIMULATION_SEEDS", count))),
        ["simulate", "--seed", seed] => nextest::simulate(Some(("SIMULATION_SEED", seed))),
        ["fuzz"] => fuzz::run_all(Ok(fuzz::Bound::Seconds(60))),
        ["fuzz", option, number] => fuzz::run_all(fuzz::Bound::parse(option, number)),
        ["attack", ref names @ ..] => attack::run_attacks(names),
        ["soak"] => nextest::soak(),
        ["systemd"] => systemd::command(systemd::Scope::Gate),
        ["systemd", "--full"] => systemd::command(systemd::Scope::Full),
        ["compare"] => nextest::compare(),
        ["bench"] => bench::measure(Scope::Full),
        ["bench", "--quick"] => bench::measure(Scope::Quick),
        ["bench", "--budget"] => bench::measure(Scope::Budget),
        ["bench", "--write-docs"] => bench::measure(Scope::Documentation),
        ["dist"] => dist::dist(Extent::Compared),
        ["dist", "--once"] => dist::dist(Extent::Once),
        ["dist", "--native"] => dist::dist(Extent::Native),
        // For the stories, which pack programs that are built already.
        [
            "dist",
            "--from",
            programs,
            "--into",
            out,
            "--version",
            version,
            ref formats @ ..,
        ] => dist::from(programs, out, version, formats),
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
