//! Counts of system calls, instructions and allocations for one request: of the shim from its start
//! to its exit, and of the daemon as the difference between two runs. The counts do not depend on
//! the machine's load, so that the gate checks them against a budget.

use std::{fs, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    counting_tool::{Counts, Tool},
    load::{Mode, Target},
    machine::resident_kib,
    process::{Programs, wait_until},
    sandbox::{DaemonOptions, Sandbox},
    startup,
    table::{Figure, Goal, Row, Unit},
};

const SHIM: &str = "sts-shim, from start to exit";
const DAEMON: &str = "The daemon, a request";

/// A row with its key in the budget.
pub(crate) struct BudgetedRow {
    pub(crate) key: &'static str,
    /// `false` for the daemon's instructions, because the gate's daemon is not optimised.
    pub(crate) in_budget: bool,
    pub(crate) row: Row,
}

/// Requests that are sent while the daemon is stopped. The number of pending requests determines
/// the number of the daemon's system calls, so that it must be the same in each run.
const BATCH_REQUESTS: usize = 64;

/// Returns all counts.
pub(crate) fn all(programs: &Programs) -> Result<Vec<BudgetedRow>> {
    let mut all = shim(programs)?;
    all.extend(daemon(programs)?);
    all.push(connection(programs)?);
    Ok(all)
}

fn budgeted_row(
    key: &'static str,
    group: &'static str,
    what: &str,
    value: Result<f64, &String>,
    unit: Unit,
    goal: Option<Goal>,
) -> BudgetedRow {
    let row = match value {
        Ok(value) => Row::new(group, what, Figure::exactly(value, unit), goal),
        Err(why) => Row::missing(group, what, goal, why),
    };
    BudgetedRow {
        key,
        in_budget: group == SHIM || !key.ends_with("instructions"),
        row,
    }
}

fn shim(programs: &Programs) -> Result<Vec<BudgetedRow>> {
    let dynamic = "the static shim cannot be built here".to_owned();
    let sandbox = Sandbox::with_session(programs, &DaemonOptions::new(programs))?;
    let count = |tool: Tool| -> Result<Result<Counts, String>> {
        if !programs.shim_is_static {
            return Ok(Err(dynamic.clone()));
        }
        let output = tool.file(&sandbox.path(""), 0);
        let prefix = match tool.prefix(&output) {
            Ok(prefix) => prefix,
            Err(why) => return Ok(Err(why)),
        };
        let mut command = startup::shim_under(&prefix, programs, &sandbox);
        let status = command.stdout(Stdio::null()).status()?;
        ensure!(status.success(), "sts-shim while it is counted: {status}");
        tool.read(&output).map(Ok)
    };
    let (strace, callgrind) = (count(Tool::Strace)?, count(Tool::Callgrind)?);
    let size = fs::metadata(programs.required("sts-shim"))?.len() as f64 / 1000.0;
    let size = programs.shim_is_static.then_some(size).ok_or(&dynamic);
    let calls = strace.as_ref().map(|it| it.system_calls);
    let instructions = callgrind.as_ref().map(|it| it.instructions);
    let at_most = |limit| Some(Goal::AtMost(limit));
    Ok(vec![
        budgeted_row(
            "shim-system-calls",
            SHIM,
            "system calls",
            calls,
            Unit::Count,
            at_most(32.0),
        ),
        budgeted_row(
            "shim-user-instructions",
            SHIM,
            "user instructions",
            instructions,
            Unit::Count,
            at_most(20_000.0),
        ),
        budgeted_row(
            "shim-kilobytes",
            SHIM,
            "size on disk",
            size,
            Unit::Kilobytes,
            at_most(464.0),
        ),
    ])
}

fn daemon(programs: &Programs) -> Result<Vec<BudgetedRow>> {
    let count = |mode| -> Result<_> {
        Ok((
            counts_per_request(programs, Tool::Strace, mode)?,
            counts_per_request(programs, Tool::Callgrind, mode)?,
        ))
    };
    let (mut hit, new) = (count(Mode::Persistent)?, count(Mode::OnePerRequest)?);
    // Once a second an audit event allocates. A run without such an event is the one to count.
    for _ in 0..2 {
        if hit.1.as_ref().is_ok_and(|it| it.allocations >= 0.005) {
            let again = counts_per_request(programs, Tool::Callgrind, Mode::Persistent)?;
            let least = |it: &Result<Counts, String>| it.as_ref().map_or(0.0, |it| it.allocations);
            if least(&again) < least(&hit.1) {
                hit.1 = again;
            }
        }
    }
    let calls = |it: &(Result<Counts, String>, _)| it.0.clone().map(|it| it.system_calls);
    let instructions = |it: &(_, Result<Counts, String>)| it.1.clone().map(|it| it.instructions);
    let allocations = |it: &(_, Result<Counts, String>)| it.1.clone().map(|it| it.allocations);
    let at_most = |limit| Some(Goal::AtMost(limit));
    let row = |key, what: &str, value: Result<f64, String>, goal| {
        // Two runs differ by a timer or an audit event.
        let value = value.map(|it| (it * 100.0).round() / 100.0);
        budgeted_row(
            key,
            DAEMON,
            what,
            value.as_ref().copied(),
            Unit::Count,
            goal,
        )
    };
    Ok(vec![
        row(
            "hit-system-calls",
            "system calls",
            calls(&hit),
            at_most(2.2),
        ),
        row(
            "hit-allocations",
            "allocations on the heap",
            allocations(&hit),
            // A timer of the daemon that fires meanwhile allocates, and its share depends on the speed
            // of the machine; an allocation for each request would be 1.
            at_most(0.05),
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

/// Returns the counts of one request to the daemon.
fn counts_per_request(
    programs: &Programs,
    tool: Tool,
    mode: Mode,
) -> Result<Result<Counts, String>> {
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
        let mut sandbox =
            Sandbox::with_session(programs, &DaemonOptions::with_wrapper(programs, &prefix))?;
        send_batches(&sandbox.target()?, sandbox.wrapped_pid()?, mode, requests)?;
        // The daemon serves this last connection after it has closed the others. It would otherwise
        // send them a message when it stops.
        drop(sandbox.target()?.connections(1)?);
        sandbox.stop_wrapped()?;
        tool.read(&output).map(Ok)
    };
    let few = run(FEW)?;
    Ok(match (few, run(MANY)?) {
        (Ok(few), Ok(many)) => Ok(many.per_request(few, MANY - FEW)),
        (Err(why), _) | (_, Err(why)) => Err(why),
    })
}

fn send_batches(target: &Target, daemon: Pid, mode: Mode, requests: usize) -> Result<()> {
    let mut connections = match mode {
        Mode::Persistent => target.connections(BATCH_REQUESTS)?,
        Mode::OnePerRequest => Vec::new(),
    };
    for _ in 0..requests / BATCH_REQUESTS {
        kill(daemon, Signal::SIGSTOP)?;
        wait_until("the daemon to stop", || is_stopped(daemon))?;
        match mode {
            Mode::Persistent => {
                for connection in &mut connections {
                    connection.send(target)?;
                }
            }
            Mode::OnePerRequest => connections = target.send_on_new_connections(BATCH_REQUESTS)?,
        }
        kill(daemon, Signal::SIGCONT)?;
        for connection in &mut connections {
            connection.finish(target)?;
        }
    }
    Ok(())
}

fn is_stopped(process: Pid) -> Result<bool> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let state = text.rsplit_once(") ").context("no state")?.1;
    // `t` is a process that a tracer has stopped.
    Ok(state.starts_with('T') || state.starts_with('t'))
}

/// Measures the memory of an idle connection.
fn connection(programs: &Programs) -> Result<BudgetedRow> {
    const COUNT: usize = 4000;
    let sandbox = Sandbox::with_session(programs, &DaemonOptions::new(programs))?;
    let target = sandbox.target()?;
    let pid = sandbox.daemon()?.id();
    // The first connections cause one-time allocations, which are not counted.
    let mut held = target.connections(COUNT / 4)?;
    std::thread::sleep(Duration::from_millis(100));
    let before = resident_kib(pid)?;
    held.extend(target.connections(COUNT)?);
    std::thread::sleep(Duration::from_millis(100));
    let bytes = (resident_kib(pid)? - before) * 1024.0 / COUNT as f64;
    drop(held);
    Ok(budgeted_row(
        "connection-bytes",
        "The daemon at rest",
        "bytes of memory an idle connection",
        Ok(bytes.round()),
        Unit::Count,
        None,
    ))
}
