//! Decides how the start of programs is compared: one after the other, round by round, from
//! posix_spawn to their end.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    comparators::Built,
    machine::Began,
    process::{Programs, find},
    table::{Figure, Goal, Row, Unit},
    world::{PROFILE, World},
};

const GROUP: &str = "sts-shim, from start to exit";

/// What is run, and why it may not be there.
struct Contestant {
    name: &'static str,
    command: Result<Command, String>,
    /// What is aimed at for the shim's time divided by this one's.
    goal: Option<Goal>,
    /// How much faster the shim is to be instead.
    faster: Option<Goal>,
    /// Microseconds, by round.
    times: Vec<f64>,
}

/// How long it takes to have credentials, by program.
pub(crate) fn compare(
    programs: &Programs,
    built: &Built,
    world: &World,
    rounds: usize,
) -> Result<Vec<Row>> {
    let file = world.path("session.json");
    let mut shim = shim(programs, world);
    let output = shim.output().context("sts-shim")?;
    ensure!(output.status.success(), "sts-shim: {output:?}");
    std::fs::write(&file, &output.stdout)?;
    let with = |name: &'static str, command, goal, faster| Contestant {
        name,
        command,
        goal,
        faster,
        times: Vec::new(),
    };
    let ours = || with("sts-shim", Ok(self::shim(programs, world)), None, None);
    let floor = built.client.clone().map(|program| {
        let mut command = Command::new(program);
        command.arg(world.socket()).arg(PROFILE);
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
            credential_cache(world),
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
    // Its daemon would stay for a quarter of an hour.
    let _ = git(world, "exit").stderr(Stdio::null()).status();
    rows.extend(compared?);
    Ok(rows)
}

/// The shim with a hot profile, as an SDK would start it.
pub(crate) fn shim(programs: &Programs, world: &World) -> Command {
    let mut command = Command::new(programs.own("sts-shim"));
    command.arg("--socket").arg(world.socket()).arg(PROFILE);
    command.env_clear();
    command
}

/// The same, begun by what a command begins with.
pub(crate) fn shim_under(prefix: &[String], programs: &Programs, world: &World) -> Command {
    let shim = shim(programs, world);
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

/// git's own cache of credentials, with one in it.
fn credential_cache(world: &World) -> Result<Command, String> {
    find("git").ok_or("no git: apt-get install git")?;
    let stored = git(world, "store").stderr(Stdio::null()).status();
    let got = git(world, "get").stdout(Stdio::piped()).output();
    let got = got.map_err(|error| error.to_string())?;
    let there = got.stdout.windows(10).any(|it| it == b"password=p");
    match stored.is_ok_and(|it| it.success()) && there {
        true => Ok(git(world, "get")),
        false => Err("git has no credential-cache here".to_owned()),
    }
}

/// What git is told by a shell, as it tells its helpers itself.
fn git(world: &World, verb: &str) -> Command {
    let script = format!(
        "printf 'protocol=https\\nhost=example.com\\nusername=u\\npassword=p\\n\\n' | \
         exec git credential-cache --socket {} {verb}",
        world.path("run/git.sock").display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdout(Stdio::null());
    command
}

/// The interpreter itself: what stands in the path may be a script that looks for one.
fn python() -> Option<PathBuf> {
    let mut command = Command::new(find("python3")?);
    command.args([
        "-c",
        "import os,sys;print(os.path.realpath(sys.executable),end='')",
    ]);
    let output = command.output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?))
}

/// A Python that has the official SDK.
fn oss2(programs: &Programs) -> Result<Command, String> {
    let python = programs.python.as_ref();
    let python = python.ok_or("no Python with oss2: cargo xtask compare installs one")?;
    let mut command = Command::new(python);
    command.args(["-c", "import oss2"]);
    Ok(command)
}

fn run(mut all: Vec<Contestant>, rounds: usize) -> Result<Vec<Row>> {
    // Whoever always came after the same one would be measured with that one's caches.
    let mut random = fastrand::Rng::with_seed(0);
    let mut order: Vec<_> = (0..all.len()).collect();
    for round in 0..rounds + 1 {
        random.shuffle(&mut order);
        for index in &order {
            let contestant = &mut all[*index];
            let Ok(command) = &mut contestant.command else {
                continue;
            };
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(Stdio::null());
            let mut time = f64::NAN;
            // Whoever comes after a large program finds the caches full of it; after two runs
            // it has them to itself again, like everybody else.
            for _ in 0..3 {
                let began = Began::now();
                let status = command.status().with_context(|| contestant.name)?;
                time = began.micros();
                ensure!(status.success(), "{}: {status}", contestant.name);
            }
            // The first round reads the programs from the disk.
            if round > 0 {
                contestant.times.push(time);
            }
        }
    }
    let milliseconds = |times: &[f64]| {
        let figure = Figure::of(times.to_vec(), Unit::Count);
        format!("{:.2} ms", figure.median / 1000.0)
    };
    let (ours, others) = all.split_first().context("nobody to compare")?;
    let row = |it: &Contestant| {
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
