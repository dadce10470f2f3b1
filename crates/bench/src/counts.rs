//! Decides what is counted of one hand-out: of the shim from its start to its exit, and of
//! the daemon by asking it many times more. None of it depends on the machine's load, so it
//! has a budget that the gate checks.

use std::{fs, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    load::Service,
    machine::resident,
    process::{Programs, wait_until},
    spawn,
    table::{Figure, Goal, Row, Unit},
    tools::{Counts, Tool},
    world::{Setting, World},
};

const SHIM: &str = "sts-shim, from start to exit";
const DAEMON: &str = "The daemon, a hand-out";

/// A figure with its name in the budget.
pub(crate) struct Counted {
    pub(crate) key: &'static str,
    /// The gate's daemon is not optimised as a release is: its instructions say nothing.
    pub(crate) in_budget: bool,
    pub(crate) row: Row,
}

/// So many ask before the daemon looks. It is made to wait for them, because how much it
/// finds to do at a time decides how often it asks the system for more.
const AT_ONCE: usize = 64;

/// How the daemon is asked while it is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Over connections that stay.
    Persistent,
    /// Over a connection for each request.
    New,
}

/// Counts everything.
pub(crate) fn all(programs: &Programs) -> Result<Vec<Counted>> {
    let mut all = shim(programs)?;
    all.extend(daemon(programs)?);
    all.push(connection(programs)?);
    Ok(all)
}

fn counted(
    key: &'static str,
    group: &'static str,
    what: &str,
    value: Result<f64, &String>,
    unit: Unit,
    goal: Option<Goal>,
) -> Counted {
    let row = match value {
        Ok(value) => Row::new(group, what, Figure::exactly(value, unit), goal),
        Err(why) => Row::missing(group, what, goal, why),
    };
    Counted {
        key,
        in_budget: group == SHIM || !key.ends_with("instructions"),
        row,
    }
}

fn shim(programs: &Programs) -> Result<Vec<Counted>> {
    let dynamic = "the static shim cannot be built here".to_owned();
    let world = World::hot(programs, &Setting::usual(programs))?;
    let count = |tool: Tool| -> Result<Result<Counts, String>> {
        if !programs.shim_is_static {
            return Ok(Err(dynamic.clone()));
        }
        let output = tool.file(&world.path(""), 0);
        let prefix = match tool.prefix(&output) {
            Ok(prefix) => prefix,
            Err(why) => return Ok(Err(why)),
        };
        let mut command = spawn::shim_under(&prefix, programs, &world);
        let status = command.stdout(Stdio::null()).status()?;
        ensure!(status.success(), "sts-shim while it is counted: {status}");
        tool.read(&output).map(Ok)
    };
    let (strace, callgrind) = (count(Tool::Strace)?, count(Tool::Callgrind)?);
    let size = fs::metadata(programs.own("sts-shim"))?.len() as f64 / 1000.0;
    let size = programs.shim_is_static.then_some(size).ok_or(&dynamic);
    let calls = strace.as_ref().map(|it| it.system_calls);
    let instructions = callgrind.as_ref().map(|it| it.instructions);
    let most = |limit| Some(Goal::AtMost(limit));
    Ok(vec![
        counted(
            "shim-system-calls",
            SHIM,
            "system calls",
            calls,
            Unit::Count,
            most(32.0),
        ),
        counted(
            "shim-user-instructions",
            SHIM,
            "user instructions",
            instructions,
            Unit::Count,
            most(20_000.0),
        ),
        counted(
            "shim-kilobytes",
            SHIM,
            "size on disk",
            size,
            Unit::Kilobytes,
            most(450.0),
        ),
    ])
}

fn daemon(programs: &Programs) -> Result<Vec<Counted>> {
    let count = |way| -> Result<_> {
        Ok((
            each(programs, Tool::Strace, way)?,
            each(programs, Tool::Callgrind, way)?,
        ))
    };
    let (mut hit, new) = (count(Way::Persistent)?, count(Way::New)?);
    // Once a second the audit says a hand-out, and that allocates; a run without is what counts.
    for _ in 0..2 {
        if hit.1.as_ref().is_ok_and(|it| it.allocations >= 0.005) {
            let again = each(programs, Tool::Callgrind, Way::Persistent)?;
            let least = |it: &Result<Counts, String>| it.as_ref().map_or(0.0, |it| it.allocations);
            if least(&again) < least(&hit.1) {
                hit.1 = again;
            }
        }
    }
    let calls = |it: &(Result<Counts, String>, _)| it.0.clone().map(|it| it.system_calls);
    let instructions = |it: &(_, Result<Counts, String>)| it.1.clone().map(|it| it.instructions);
    let allocations = |it: &(_, Result<Counts, String>)| it.1.clone().map(|it| it.allocations);
    let most = |limit| Some(Goal::AtMost(limit));
    let row = |key, what: &str, value: Result<f64, String>, goal| {
        // A run has a timer or an audited event more or less than another one.
        let value = value.map(|it| (it * 100.0).round() / 100.0);
        counted(
            key,
            DAEMON,
            what,
            value.as_ref().copied(),
            Unit::Count,
            goal,
        )
    };
    Ok(vec![
        row("hit-system-calls", "system calls", calls(&hit), most(2.2)),
        row(
            "hit-allocations",
            "allocations on the heap",
            allocations(&hit),
            most(0.0),
        ),
        row(
            "hit-user-instructions",
            "user instructions",
            instructions(&hit),
            None,
        ),
        row(
            "connection-system-calls",
            "system calls, with a connection for it",
            calls(&new),
            None,
        ),
        row(
            "connection-allocations",
            "allocations, with a connection for it",
            allocations(&new),
            None,
        ),
        row(
            "connection-user-instructions",
            "user instructions, with a connection for it",
            instructions(&new),
            None,
        ),
    ])
}

/// What one more request costs the daemon.
fn each(programs: &Programs, tool: Tool, way: Way) -> Result<Result<Counts, String>> {
    const FEW: usize = 128;
    const MANY: usize = 2048 + FEW;
    let run = |requests| -> Result<Result<Counts, String>> {
        let folder = tempfile::tempdir()?;
        let output = tool.file(folder.path(), requests);
        let prefix = match tool.prefix(&output) {
            Ok(prefix) => prefix,
            Err(why) => return Ok(Err(why)),
        };
        let prefix: Vec<_> = prefix.iter().map(String::as_str).collect();
        let mut world = World::hot(programs, &Setting::under(programs, &prefix))?;
        ask(&world.service()?, world.watched()?, way, requests)?;
        // Who comes last is answered when all have been seen to leave: nobody has to be told
        // that we stop, which costs something as well.
        drop(world.service()?.connections(1)?);
        world.stop_watched()?;
        tool.read(&output).map(Ok)
    };
    let few = run(FEW)?;
    Ok(match (few, run(MANY)?) {
        (Ok(few), Ok(many)) => Ok(many.each(few, MANY - FEW)),
        (Err(why), _) | (_, Err(why)) => Err(why),
    })
}

fn ask(service: &Service, daemon: Pid, way: Way, requests: usize) -> Result<()> {
    let mut connections = match way {
        Way::Persistent => service.connections(AT_ONCE)?,
        Way::New => Vec::new(),
    };
    for _ in 0..requests / AT_ONCE {
        kill(daemon, Signal::SIGSTOP)?;
        wait_until("the daemon to stop", || is_stopped(daemon))?;
        match way {
            Way::Persistent => {
                for connection in &mut connections {
                    connection.send(service)?;
                }
            }
            Way::New => connections = service.asking(AT_ONCE)?,
        }
        kill(daemon, Signal::SIGCONT)?;
        for connection in &mut connections {
            connection.finish(service)?;
        }
    }
    Ok(())
}

fn is_stopped(process: Pid) -> Result<bool> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let state = text.rsplit_once(") ").context("no state")?.1;
    // One that is watched is stopped by whoever watches.
    Ok(state.starts_with('T') || state.starts_with('t'))
}

/// What an idle connection holds.
fn connection(programs: &Programs) -> Result<Counted> {
    const COUNT: usize = 4000;
    let world = World::hot(programs, &Setting::usual(programs))?;
    let service = world.service()?;
    let pid = world.daemon()?.id();
    // What the first ones of their kind need once is not counted.
    let mut held = service.connections(COUNT / 4)?;
    std::thread::sleep(Duration::from_millis(100));
    let before = resident(pid)?;
    held.extend(service.connections(COUNT)?);
    std::thread::sleep(Duration::from_millis(100));
    let bytes = (resident(pid)? - before) * 1024.0 / COUNT as f64;
    drop(held);
    Ok(counted(
        "connection-bytes",
        "The daemon at rest",
        "bytes of memory an idle connection",
        Ok(bytes.round()),
        Unit::Count,
        None,
    ))
}
