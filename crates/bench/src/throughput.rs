//! The throughput of the daemon beside other servers: all servers on one processor, the load
//! generator on another one, in interleaved measurements.

use std::time::Duration;

use anyhow::Result;

use crate::{
    comparators::{self, CPrograms, Server},
    load::{Mode, Target, url},
    machine::cpu_time,
    process::Programs,
    sandbox::{DaemonOptions, PROFILE, Sandbox},
    table::{Figure, Goal, Row, Unit},
};

const GROUP: &str = "The daemon, a request";

/// The measured combinations of connection mode and number of connections.
const WORKLOADS: [(Mode, usize); 7] = [
    (Mode::Persistent, 1),
    (Mode::Persistent, 8),
    (Mode::Persistent, 64),
    (Mode::Persistent, 1000),
    (Mode::OnePerRequest, 1),
    (Mode::OnePerRequest, 8),
    (Mode::OnePerRequest, 64),
];

/// The number of rounds, and the duration of a measurement.
#[derive(Clone, Copy)]
pub(crate) struct RunPlan {
    pub(crate) rounds: usize,
    pub(crate) duration: Duration,
}

/// A measured server and its results.
struct Subject<'a> {
    pid: u32,
    target: &'a Target,
    measured: &'a mut Measured,
}

#[derive(Default)]
struct Measured {
    per_second: Vec<f64>,
    processor: Vec<f64>,
    slowest: Vec<f64>,
}

impl<'a> Subject<'a> {
    fn new(pid: u32, target: &'a Target, measured: &'a mut Measured) -> Self {
        Self {
            pid,
            target,
            measured,
        }
    }

    fn of(server: &'a Server, measured: &'a mut Measured) -> Self {
        Self::new(server.process.id(), &server.target, measured)
    }

    fn measure(&mut self, mode: Mode, connections: usize, duration: Duration) -> Result<()> {
        let before = cpu_time(self.pid)?;
        let load = self.target.load(mode, connections, duration)?;
        let spent = cpu_time(self.pid)? - before;
        self.measured.per_second.push(load.per_second());
        self.measured.slowest.push(load.percentile(990));
        let cpu_seconds = spent.as_secs_f64() / load.requests as f64;
        self.measured.processor.push(cpu_seconds);
        Ok(())
    }
}

/// Measures all servers one after the other. Each round begins with another server.
fn measure_interleaved(
    mut all: Vec<Subject>,
    round: usize,
    mode: Mode,
    connections: usize,
    duration: Duration,
) -> Result<()> {
    let first = round % all.len();
    all.rotate_left(first);
    for subject in &mut all {
        subject.measure(mode, connections, duration)?;
    }
    Ok(())
}

/// Compares the daemon with a C server that only sends the same bytes. Both are restarted for each
/// round, because the memory layout of a process changes its speed by up to a tenth.
pub(crate) fn vs_baseline(
    programs: &Programs,
    c_programs: &CPrograms,
    plan: RunPlan,
) -> Result<Vec<Row>> {
    let goals = [Goal::AtLeast(0.9), Goal::AtMost(1.15), Goal::AtMost(1.25)];
    let whats = ["requests a second", "processor time a request", "p99"];
    let mut measured = WORKLOADS.map(|_| <[Measured; 2]>::default());
    for round in 0..plan.rounds {
        let sandbox = Sandbox::with_session(programs, &DaemonOptions::new(programs))?;
        let (target, daemon) = (sandbox.target()?, sandbox.daemon()?.id());
        let floor = match comparators::c_server(c_programs, &target) {
            Ok(floor) => floor,
            Err(why) => {
                let row = |(what, goal)| {
                    Row::missing(GROUP, format!("{what} beside C"), Some(goal), &why)
                };
                return Ok(whats.into_iter().zip(goals).map(row).collect());
            }
        };
        for ((mode, connections), [ours, theirs]) in WORKLOADS.into_iter().zip(&mut measured) {
            let pair = vec![
                Subject::new(daemon, &target, ours),
                Subject::of(&floor, theirs),
            ];
            measure_interleaved(pair, round, mode, connections, plan.duration)?;
        }
    }
    let mut rows = Vec::new();
    for ((mode, connections), [ours, theirs]) in WORKLOADS.into_iter().zip(measured) {
        let figures = [
            Figure::ratio(&ours.per_second, &theirs.per_second),
            Figure::ratio(&ours.processor, &theirs.processor),
            Figure::ratio(&ours.slowest, &theirs.slowest),
        ];
        // One connection that waits for each reply measures the wake-up time of a processor.
        let has_goal = mode == Mode::OnePerRequest || connections > 1;
        for ((what, goal), figure) in whats.into_iter().zip(goals).zip(figures) {
            let what = format!("{what} beside C, {}", workload_name(mode, connections));
            rows.push(Row::new(GROUP, what, figure, has_goal.then_some(goal)));
        }
        let per_second = Figure::of(ours.per_second, Unit::Count).median.round();
        let last = rows.len() - 3;
        rows[last].remark = format!("{per_second} a second");
    }
    Ok(rows)
}

fn workload_name(mode: Mode, connections: usize) -> String {
    match (mode, connections) {
        (Mode::Persistent, 1) => "one connection".to_owned(),
        (Mode::Persistent, count) => format!("{count} connections"),
        (Mode::OnePerRequest, count) => format!("a connection a request, {count} at a time"),
    }
}

/// Compares the daemon with widely used servers, with 64 connections each. All are restarted for each
/// round.
pub(crate) fn vs_servers(programs: &Programs, plan: RunPlan) -> Result<Vec<Row>> {
    let names = ["ssh-agent listing a key", "redis", "memcached"];
    let goals = [2.0, 1.1, 1.0];
    let (mut ours, mut theirs) = (Measured::default(), <[Measured; 3]>::default());
    let mut missing = [const { None }; 3];
    for round in 0..plan.rounds {
        let sandbox = Sandbox::with_session(programs, &DaemonOptions::new(programs))?;
        let target = sandbox.target()?;
        let servers = [
            comparators::ssh_agent(),
            comparators::redis(target.answer()),
            comparators::memcached(target.answer()),
        ];
        let mut all = vec![Subject::new(sandbox.daemon()?.id(), &target, &mut ours)];
        for ((server, theirs), missing) in servers.iter().zip(&mut theirs).zip(&mut missing) {
            match server {
                Ok(server) => all.push(Subject::of(server, theirs)),
                Err(why) => *missing = Some(why.clone()),
            }
        }
        measure_interleaved(all, round, Mode::Persistent, 64, plan.duration)?;
    }
    let rows = names.into_iter().zip(goals).zip(theirs).zip(missing);
    let row = |(((name, goal), theirs), missing): (((&str, f64), Measured), Option<String>)| {
        let what = format!("requests a second beside {name}, 64 connections");
        let goal = Some(Goal::AtLeast(goal));
        match missing {
            Some(why) => Row::missing(GROUP, what, goal, &why),
            None => {
                let figure = Figure::ratio(&ours.per_second, &theirs.per_second);
                Row::new(GROUP, what, figure, goal)
            }
        }
    };
    Ok(rows.map(row).collect())
}

/// Compares the HTTP endpoint with nginx that serves the same bytes from a file.
pub(crate) fn vs_nginx(programs: &Programs, plan: RunPlan) -> Result<Vec<Row>> {
    const GROUP: &str = "The loopback endpoint";
    let options = DaemonOptions {
        http: true,
        ..DaemonOptions::new(programs)
    };
    let sandbox = Sandbox::with_session(programs, &options)?;
    let answer = sandbox.client().url(PROFILE)?;
    // The URL is a secret, but the daemon of this run has emulated credentials only.
    let (address, path) = url(answer.url.expose())?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes();
    let target = Target::probe(address, request.clone(), request)?;
    let answer = target.answer();
    let body = answer
        .windows(4)
        .position(|it| it == b"\r\n\r\n")
        .unwrap_or(0)
        + 4;
    let nginx = comparators::nginx(&answer[body..]);
    let mut rows = Vec::new();
    for (mode, connections) in [(Mode::Persistent, 8), (Mode::OnePerRequest, 8)] {
        let what = format!(
            "requests a second beside nginx, {}",
            workload_name(mode, connections)
        );
        let goal = Some(Goal::AtLeast(0.7));
        let nginx = match &nginx {
            Ok(nginx) => nginx,
            Err(why) => {
                rows.push(Row::missing(GROUP, what, goal, why));
                continue;
            }
        };
        let [mut ours, mut theirs] = <[Measured; 2]>::default();
        for round in 0..plan.rounds {
            let pair = vec![
                Subject::new(sandbox.daemon()?.id(), &target, &mut ours),
                Subject::of(nginx, &mut theirs),
            ];
            measure_interleaved(pair, round, mode, connections, plan.duration)?;
        }
        let figure = Figure::ratio(&ours.per_second, &theirs.per_second);
        let per_second = Figure::of(ours.per_second, Unit::Count).median.round();
        rows.push(Row::new(GROUP, what, figure, goal).remark(format!("{per_second} a second")));
    }
    Ok(rows)
}

/// Returns the time of a request with idle connections, divided by the time without them.
pub(crate) fn with_idle_connections(target: &Target, idle: usize, plan: RunPlan) -> Result<Figure> {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        without.push(
            target
                .load(Mode::Persistent, 8, plan.duration)?
                .per_second(),
        );
        let held = target.connections(idle)?;
        with.push(
            target
                .load(Mode::Persistent, 8, plan.duration)?
                .per_second(),
        );
        drop(held);
        // The server notices the closed connections before the next round.
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(Figure::ratio(&without, &with))
}
