//! The time from the start of a program to its exit, for programs that are started one after the
//! other.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    comparators::CPrograms,
    machine::Stopwatch,
    process::{Programs, find_program},
    sandbox::{PROFILE, Sandbox},
    table::{Figure, Goal, Row, Unit},
};

const GROUP: &str = "sts-shim, from start to exit";

/// A measured program, or the reason for which it is missing.
struct Subject {
    name: &'static str,
    command: Result<Command, String>,
    /// The goal for the shim's time divided by that of this program.
    goal: Option<Goal>,
    /// The goal for this program's time divided by that of the shim.
    faster: Option<Goal>,
    /// The times in microseconds, by round.
    times: Vec<f64>,
}

/// Compares the times in which programs supply credentials.
pub(crate) fn compare(
    programs: &Programs,
    c_programs: &CPrograms,
    sandbox: &Sandbox,
    rounds: usize,
) -> Result<Vec<Row>> {
    let file = sandbox.path("session.json");
    let mut shim = shim(programs, sandbox);
    let output = shim.output().context("sts-shim")?;
    ensure!(output.status.success(), "sts-shim: {output:?}");
    std::fs::write(&file, &output.stdout)?;
    let with = |name: &'static str, command, goal, faster| Subject {
        name,
        command,
        goal,
        faster,
        times: Vec::new(),
    };
    let ours = || with("sts-shim", Ok(self::shim(programs, sandbox)), None, None);
    let floor = c_programs.client.clone().map(|program| {
        let mut command = Command::new(program);
        command.arg(sandbox.socket()).arg(PROFILE);
        command
    });
    let quick = vec![
        ours(),
        with(
            "a static C client without a C library",
            floor,
            Some(Goal::AtMost(1.3)),
            None,
        ),
        with(
            "/bin/true",
            Ok(Command::new("/bin/true")),
            Some(Goal::AtMost(0.6)),
            None,
        ),
        with(
            "cat of a cached file",
            Ok(with_file("cat", &[], &file)),
            None,
            Some(Goal::AtLeast(2.5)),
        ),
    ];
    let json = "import json,sys;json.load(open(sys.argv[1]))";
    let python = python().ok_or("no python3".to_owned());
    let slow = vec![
        ours(),
        with(
            "git credential-cache get",
            credential_cache(sandbox),
            None,
            Some(Goal::AtLeast(1.0)),
        ),
        with(
            "Python reading a cached JSON file",
            python.map(|it| with_file(it, &["-c", json], &file)),
            None,
            Some(Goal::AtLeast(60.0)),
        ),
        with(
            "Python importing oss2",
            oss2(programs),
            None,
            Some(Goal::AtLeast(800.0)),
        ),
    ];
    let mut rows = run(quick, rounds)?;
    let compared = run(slow, (rounds / 40).max(3));
    // The daemon of the credential cache would run for 15 minutes more.
    let _ = git(sandbox, "exit").stderr(Stdio::null()).status();
    rows.extend(compared?);
    Ok(rows)
}

/// Returns the command with which an SDK starts the shim.
pub(crate) fn shim(programs: &Programs, sandbox: &Sandbox) -> Command {
    let mut command = Command::new(programs.required("sts-shim"));
    command.arg("--socket").arg(sandbox.socket()).arg(PROFILE);
    command.env_clear();
    command
}

/// Returns the same command under a tool, whose command line is `prefix`.
pub(crate) fn shim_under(prefix: &[String], programs: &Programs, sandbox: &Sandbox) -> Command {
    let shim = shim(programs, sandbox);
    let mut command = Command::new(&prefix[0]);
    command.args(&prefix[1..]).arg(shim.get_program());
    command.args(shim.get_args()).env_clear();
    command
}

fn with_file(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str], file: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).arg(file);
    command
}

/// Returns the command that reads a credential from git's credential cache.
fn credential_cache(sandbox: &Sandbox) -> Result<Command, String> {
    find_program("git").ok_or("no git: apt-get install git")?;
    let stored = git(sandbox, "store").stderr(Stdio::null()).status();
    let output = git(sandbox, "get").stdout(Stdio::piped()).output();
    let output = output.map_err(|error| error.to_string())?;
    let is_cached = output.stdout.windows(10).any(|it| it == b"password=p");
    match stored.is_ok_and(|it| it.success()) && is_cached {
        true => Ok(git(sandbox, "get")),
        false => Err("git has no credential-cache here".to_owned()),
    }
}

/// Returns the command that runs an action of the credential cache, with the input of a helper.
fn git(sandbox: &Sandbox, verb: &str) -> Command {
    let script = format!(
        "printf 'protocol=https\\nhost=example.com\\nusername=u\\npassword=p\\n\\n' | \
         exec git credential-cache --socket {} {verb}",
        sandbox.path("run/git.sock").display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdout(Stdio::null());
    command
}

/// Returns the path of the interpreter; `python3` in `PATH` may be a script that searches for it.
fn python() -> Option<PathBuf> {
    let mut command = Command::new(find_program("python3")?);
    command.args([
        "-c",
        "import os,sys;print(os.path.realpath(sys.executable),end='')",
    ]);
    let output = command.output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?))
}

/// Returns the command that imports the official SDK.
fn oss2(programs: &Programs) -> Result<Command, String> {
    let python = programs.python.as_ref();
    let python = python.ok_or("no Python with oss2: cargo xtask compare installs one")?;
    let mut command = Command::new(python);
    command.args(["-c", "import oss2"]);
    Ok(command)
}

fn run(mut all: Vec<Subject>, rounds: usize) -> Result<Vec<Row>> {
    // In a random order, because a program finds the processor caches that its predecessor left.
    let mut random = fastrand::Rng::with_seed(0);
    let mut order: Vec<_> = (0..all.len()).collect();
    for round in 0..rounds + 1 {
        random.shuffle(&mut order);
        for index in &order {
            let subject = &mut all[*index];
            let Ok(command) = &mut subject.command else {
                continue;
            };
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(Stdio::null());
            let mut time = f64::NAN;
            // A large predecessor leaves its data in the caches. The third run is measured, when
            // the first two have replaced that data.
            for _ in 0..3 {
                let stopwatch = Stopwatch::start();
                let status = command.status().with_context(|| subject.name)?;
                time = stopwatch.elapsed_micros();
                ensure!(status.success(), "{}: {status}", subject.name);
            }
            // The first round reads the programs from the disk.
            if round > 0 {
                subject.times.push(time);
            }
        }
    }
    let milliseconds = |times: &[f64]| {
        let figure = Figure::of(times.to_vec(), Unit::Count);
        format!("{:.2} ms", figure.median / 1000.0)
    };
    let (ours, others) = all.split_first().context("no programs to compare")?;
    let row = |it: &Subject| {
        let what = match it.faster {
            Some(_) => format!("how many times faster than {}", it.name),
            None => format!("time beside {}", it.name),
        };
        let goal = it.goal.or(it.faster);
        if let Err(why) = &it.command {
            return Row::missing(GROUP, what, goal, why);
        }
        let figure = match it.faster {
            Some(_) => Figure::ratio(&it.times, &ours.times),
            None => Figure::ratio(&ours.times, &it.times),
        };
        let (ours, theirs) = (milliseconds(&ours.times), milliseconds(&it.times));
        Row::new(GROUP, what, figure, goal).remark(format!("{ours} and {theirs}"))
    };
    Ok(others.iter().map(row).collect())
}
