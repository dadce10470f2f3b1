//! The costs of an idle daemon: wake-ups, and memory with idle connections and with profiles.

use std::{thread, time::Duration};

use anyhow::Result;

use crate::{
    comparators::{self, CPrograms},
    machine::{anonymous_kib, resident_kib, voluntary_switches},
    process::Programs,
    sandbox::{DaemonOptions, Sandbox, profile},
    table::{Figure, Goal, Row, Unit},
    throughput::{RunPlan, with_idle_connections},
};

const GROUP: &str = "The daemon at rest";

/// Maximum resident memory with ten thousand idle connections.
const MAX_RESIDENT: Goal = Goal::AtMost(16_000.0);

/// Starts per measurement of resident memory, which differs because the kernel maps another part of
/// the program's file at each start.
const STARTS: usize = 5;

/// The idle time, the number of idle connections, and the number of profiles.
pub(crate) struct IdlePlan {
    pub(crate) duration: Duration,
    pub(crate) connections: usize,
    pub(crate) profiles: usize,
}

pub(crate) fn idle(programs: &Programs, duration: Duration) -> Result<Vec<Row>> {
    let sandbox = Sandbox::with_session(programs, &DaemonOptions::new(programs))?;
    let pid = sandbox.daemon()?.id();
    // tokio ends the blocking thread of a name lookup after ten seconds without work.
    thread::sleep(Duration::from_secs(12));
    let before = voluntary_switches(pid)?;
    thread::sleep(duration);
    let per_ten_seconds = (voluntary_switches(pid)? - before) / (duration.as_secs_f64() / 10.0);
    let figure = Figure::exactly(per_ten_seconds, Unit::Count);
    let row = Row::new(GROUP, "wake-ups in 10 s", figure, Some(Goal::AtMost(1.0)));
    Ok(vec![row.remark(format!("over {} s", duration.as_secs()))])
}

pub(crate) fn memory(programs: &Programs) -> Result<Vec<Row>> {
    Ok(vec![
        resident_row(programs, "stsd", "glibc", 7000.0)?,
        resident_row(programs, "stsd-musl", "musl", 4500.0)?,
    ])
}

fn resident_row(programs: &Programs, name: &str, library: &str, limit: f64) -> Result<Row> {
    let what = format!("resident memory with the TLS client, {library}");
    let goal = Some(Goal::AtMost(limit));
    let Some(daemon) = programs.optional(name) else {
        return Ok(Row::missing(
            GROUP,
            what,
            goal,
            format!("no daemon for {library}"),
        ));
    };
    let options = DaemonOptions {
        daemon,
        ..DaemonOptions::new(programs)
    };
    let start = |_| {
        let sandbox = Sandbox::with_session(programs, &options)?;
        thread::sleep(Duration::from_secs(1));
        Ok(resident_kib(sandbox.daemon()?.id())? * 1.024)
    };
    let kilobytes = (0..STARTS).map(start).collect::<Result<_>>()?;
    let figure = Figure::of(kilobytes, Unit::Kilobytes);
    Ok(Row::new(GROUP, what, figure, goal).remark(format!("of {STARTS} starts")))
}

pub(crate) fn connections(
    programs: &Programs,
    c_programs: &CPrograms,
    count: usize,
    open_file_limit: u64,
    plan: RunPlan,
) -> Result<Vec<Row>> {
    let whats = [
        format!("resident memory, {count} idle connections, glibc"),
        format!("a request among {count} idle connections, beside one without them"),
    ];
    // The goals are for ten thousand.
    let has_goals = count == 10_000;
    let goals = [MAX_RESIDENT, Goal::AtMost(1.05)].map(|it| has_goals.then_some(it));
    // The daemon uses at most three quarters of its descriptors for connections.
    if open_file_limit * 3 / 4 < count as u64 + 64 {
        let why = format!("no more than {open_file_limit} open files are allowed here");
        let row = |(what, goal)| Row::missing(GROUP, what, goal, &why);
        return Ok(whats.into_iter().zip(goals).map(row).collect());
    }
    let sandbox = Sandbox::with_session(programs, &DaemonOptions::new(programs))?;
    let kilobytes = resident_with_connections(&sandbox, count)?;
    thread::sleep(Duration::from_millis(500));
    let ours = with_idle_connections(&sandbox.target()?, count, plan)?;
    let figures = [Figure::exactly(kilobytes, Unit::Kilobytes), ours];
    let rows = whats.into_iter().zip(goals).zip(figures);
    let row = |((what, goal), figure)| Row::new(GROUP, what, figure, goal);
    let mut rows: Vec<_> = rows.map(row).collect();
    // The cost of the kernel and of the load generator is the same for the C server.
    if let Ok(floor) = comparators::c_server(c_programs, &sandbox.target()?) {
        let theirs = with_idle_connections(&floor.target, count, plan)?;
        rows[1].remark = format!("the C server: {}", Unit::Ratio.show(theirs.median));
    }
    if let Some(daemon) = programs.optional("stsd-musl") {
        let options = DaemonOptions {
            daemon,
            ..DaemonOptions::new(programs)
        };
        let kilobytes =
            resident_with_connections(&Sandbox::with_session(programs, &options)?, count)?;
        let what = format!("resident memory, {count} idle connections, musl");
        let figure = Figure::exactly(kilobytes, Unit::Kilobytes);
        let goal = has_goals.then_some(MAX_RESIDENT);
        rows.insert(1, Row::new(GROUP, what, figure, goal));
    }
    Ok(rows)
}

/// Returns the resident kilobytes of a daemon with idle connections, each of which was served once.
fn resident_with_connections(sandbox: &Sandbox, count: usize) -> Result<f64> {
    let _held = sandbox.target()?.connections(count)?;
    thread::sleep(Duration::from_millis(500));
    Ok(resident_kib(sandbox.daemon()?.id())? * 1.024)
}

/// Measures the memory of one profile with a session.
pub(crate) fn profiles(programs: &Programs, count: usize) -> Result<Vec<Row>> {
    let anonymous_with = |profiles: usize| -> Result<f64> {
        let options = DaemonOptions {
            profiles,
            ..DaemonOptions::new(programs)
        };
        let sandbox = Sandbox::with_session(programs, &options)?;
        let client = sandbox.client();
        for index in 1..profiles {
            // The daemon makes at most a hundred calls a second.
            client.credentials(&profile(index), Duration::ZERO, Duration::from_secs(30))?;
        }
        thread::sleep(Duration::from_secs(1));
        // Without the mapped part of the program, which no profile holds.
        anonymous_kib(sandbox.daemon()?.id())
    };
    let kilobytes = (anonymous_with(count)? - anonymous_with(1)?) * 1.024 / (count - 1) as f64;
    let what = format!("memory a profile with its session, of {count}");
    let figure = Figure::exactly(kilobytes, Unit::Kilobytes);
    // A profile's snapshot is in a tokio watch channel, which takes a few hundred bytes.
    Ok(vec![Row::new(GROUP, what, figure, Some(Goal::AtMost(4.0)))])
}
