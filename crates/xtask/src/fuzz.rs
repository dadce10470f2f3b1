//! The build and the runs of the fuzz targets.
//!
//! The flags are those of cargo-fuzz without AddressSanitizer, which needs a nightly compiler. The
//! fuzzed parsers contain no `unsafe`.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use crate::process::{Outcome, cargo_command, root, run, say, target};

/// The targets. Each has seeds in `fuzz/corpus`, and some have a second folder of seeds.
const TARGETS: [(&str, Option<&str>); 10] = [
    ("frames", Some("crates/wire/tests/golden")),
    ("config", None),
    ("key_file", None),
    ("document", None),
    ("session_policy", None),
    ("session_name", None),
    ("sts_answers", None),
    ("handed_over", None),
    ("http", None),
    ("imported", None),
];

const FLAGS: [&str; 7] = [
    "-Dwarnings",
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// The bound of one run.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    Seconds(u64),
    Runs(u64),
}

impl Bound {
    pub(crate) fn parse(option: &str, number: &str) -> Result<Self, String> {
        match (option, number.parse()) {
            ("--seconds", Ok(seconds)) => Ok(Self::Seconds(seconds)),
            ("--runs", Ok(runs)) => Ok(Self::Runs(runs)),
            _ => Err("fuzz takes --seconds N or --runs N, for each target".to_owned()),
        }
    }
}

/// Returns the reason for which the targets cannot be built; `None` if they can.
pub(crate) fn obstacle() -> Option<String> {
    let compiler = env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let works = Command::new(&compiler).arg("--version").output();
    let works = works.is_ok_and(|output| output.status.success());
    let shown = compiler.to_string_lossy();
    (!works).then(|| format!("libFuzzer needs a C++ compiler: `{shown}` does not work here"))
}

/// Runs each target within the bound of the command line.
pub(crate) fn run_all(bound: Result<Bound, String>) -> Outcome {
    obstacle().map_or(Ok(()), Err)?;
    fuzz(bound?)
}

/// Builds all targets, and runs one after the other until the first crash.
pub(crate) fn fuzz(bound: Bound) -> Outcome {
    let programs = build()?;
    let mut total = 0;
    for (name, seeds) in TARGETS {
        let count = run_target(&programs, name, seeds, bound)?;
        say(&format!("{name}: {count} executions, no crash"));
        total += count;
    }
    say(&format!("all targets: {total} executions"));
    Ok(())
}

/// Builds the targets, and returns the folder of the programs. With an explicit triple the flags do
/// not apply to procedural macros.
fn build() -> Result<PathBuf, String> {
    let triple = triple()?;
    let folder = target().join("fuzz");
    let mut build = cargo_command(&["build", "--locked", "--release", "--quiet"]);
    build.args(["--manifest-path", "fuzz/Cargo.toml", "--target", &triple]);
    build.arg("--target-dir").arg(&folder);
    run(build.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}")))?;
    Ok(folder.join(triple).join("release"))
}

fn triple() -> Result<String, String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output();
    let output = output.map_err(|error| format!("rustc does not start: {error}"))?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
        .ok_or_else(|| "rustc -vV printed no host".to_owned())
}

/// Runs a target, and returns the number of executions. New inputs are kept in the target directory,
/// so that the seeds stay few and readable.
fn run_target(
    programs: &Path,
    name: &str,
    seeds: Option<&str>,
    bound: Bound,
) -> Result<u64, String> {
    let found = target().join("fuzz/corpus").join(name);
    let artifacts = root().join("fuzz/artifacts").join(name);
    let log = target().join(format!("fuzz/{name}.log"));
    let made = [&found, &artifacts].map(fs::create_dir_all);
    let output = made.into_iter().collect::<Result<(), _>>();
    let output = output.and_then(|()| File::create(&log));
    let output = output.map_err(|error| format!("{}: {error}", log.display()))?;

    let mut fuzz = Command::new(programs.join(name));
    fuzz.arg(match bound {
        Bound::Seconds(seconds) => format!("-max_total_time={seconds}"),
        Bound::Runs(runs) => format!("-runs={runs}"),
    });
    // Under load the fuzzer may get no processor for ten seconds; an endless loop has no end.
    fuzz.args(["-timeout=60", "-rss_limit_mb=1024", "-print_final_stats=1"]);
    fuzz.arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzz.arg(found).arg(root().join("fuzz/corpus").join(name));
    fuzz.args(seeds.map(|seeds| root().join(seeds)));
    let status = fuzz.stderr(output).status();
    let status = status.map_err(|error| format!("{name} does not start: {error}"))?;

    let log_text = fs::read(&log).unwrap_or_default();
    let log_text = String::from_utf8_lossy(&log_text);
    let count = log_text.lines().find_map(executions);
    match count {
        Some(count) if status.success() => Ok(count),
        _ => {
            let lines: Vec<_> = log_text.lines().collect();
            say(&lines[lines.len().saturating_sub(40)..].join("\n"));
            Err(format!(
                "the fuzz target {name} failed, {status}: the log is {}, and \
                 `{} FILE` repeats it",
                log.display(),
                programs.join(name).display()
            ))
        }
    }
}

fn executions(line: &str) -> Option<u64> {
    let number = line.strip_prefix("stat::number_of_executed_units:")?;
    number.trim().parse().ok()
}
