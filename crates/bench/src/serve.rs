//! Decides how the daemon is compared with other servers: the same processor for all of
//! them, the same generator on another one, in turns.

use std::time::Duration;

use anyhow::Result;

use crate::{
    comparators::{self, Built, Server},
    load::{Mode, Service, url},
    machine::processor_time,
    process::Programs,
    table::{Figure, Goal, Row, Unit},
    world::{PROFILE, Setting, World},
};

const GROUP: &str = "The daemon, a hand-out";

/// How connections are used, and how many there are at a time.
const SITUATIONS: [(Mode, usize); 7] = [
    (Mode::Persistent, 1),
    (Mode::Persistent, 8),
    (Mode::Persistent, 64),
    (Mode::Persistent, 1000),
    (Mode::OnePerRequest, 1),
    (Mode::OnePerRequest, 8),
    (Mode::OnePerRequest, 64),
];

/// How long and how often.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
}

/// One who is asked, and what came of it.
struct Contestant<'a> {
    pid: u32,
    service: &'a Service,
    measured: &'a mut Measured,
}

#[derive(Default)]
struct Measured {
    per_second: Vec<f64>,
    processor: Vec<f64>,
    slowest: Vec<f64>,
}

impl<'a> Contestant<'a> {
    fn new(pid: u32, service: &'a Service, measured: &'a mut Measured) -> Self {
        Self {
            pid,
            service,
            measured,
        }
    }

    fn of(server: &'a Server, measured: &'a mut Measured) -> Self {
        Self::new(server.process.id(), &server.service, measured)
    }

    fn is_asked(&mut self, mode: Mode, connections: usize, length: Duration) -> Result<()> {
        let before = processor_time(self.pid)?;
        let load = self.service.load(mode, connections, length)?;
        let spent = processor_time(self.pid)? - before;
        self.measured.per_second.push(load.per_second());
        self.measured.slowest.push(load.percentile(990));
        let each = spent.as_secs_f64() / load.requests as f64;
        self.measured.processor.push(each);
        Ok(())
    }
}

/// Asks all of them in turns; each round begins with another one.
fn in_turns(
    mut all: Vec<Contestant>,
    round: usize,
    mode: Mode,
    connections: usize,
    length: Duration,
) -> Result<()> {
    let first = round % all.len();
    all.rotate_left(first);
    for contestant in &mut all {
        contestant.is_asked(mode, connections, length)?;
    }
    Ok(())
}

/// The daemon beside a C server that answers the same bytes and does nothing else. Both are
/// started anew for each round: how a process happens to lie in memory makes up to a tenth of its
/// speed, for as long as it runs.
pub(crate) fn beside_the_floor(
    programs: &Programs,
    built: &Built,
    effort: Effort,
) -> Result<Vec<Row>> {
    let goals = [Goal::AtLeast(0.9), Goal::AtMost(1.15), Goal::AtMost(1.25)];
    let whats = ["requests a second", "processor time a request", "p99"];
    let mut measured = SITUATIONS.map(|_| <[Measured; 2]>::default());
    for round in 0..effort.rounds {
        let world = World::hot(programs, &Setting::usual(programs))?;
        let (service, daemon) = (world.service()?, world.daemon()?.id());
        let floor = match comparators::floor(built, &service) {
            Ok(floor) => floor,
            Err(why) => {
                let row = |(what, goal)| {
                    Row::missing(GROUP, format!("{what} beside C"), Some(goal), &why)
                };
                return Ok(whats.into_iter().zip(goals).map(row).collect());
            }
        };
        for ((mode, connections), [ours, theirs]) in SITUATIONS.into_iter().zip(&mut measured) {
            let pair = vec![
                Contestant::new(daemon, &service, ours),
                Contestant::of(&floor, theirs),
            ];
            in_turns(pair, round, mode, connections, effort.length)?;
        }
    }
    let mut rows = Vec::new();
    for ((mode, connections), [ours, theirs]) in SITUATIONS.into_iter().zip(measured) {
        let figures = [
            Figure::ratio(&ours.per_second, &theirs.per_second),
            Figure::ratio(&ours.processor, &theirs.processor),
            Figure::ratio(&ours.slowest, &theirs.slowest),
        ];
        // One connection that waits for each answer measures how fast a processor wakes.
        let aimed = mode == Mode::OnePerRequest || connections > 1;
        for ((what, goal), figure) in whats.into_iter().zip(goals).zip(figures) {
            let what = format!("{what} beside C, {}", situation(mode, connections));
            rows.push(Row::new(GROUP, what, figure, aimed.then_some(goal)));
        }
        let each = Figure::of(ours.per_second, Unit::Count).median.round();
        let last = rows.len() - 3;
        rows[last].remark = format!("{each} a second");
    }
    Ok(rows)
}

fn situation(mode: Mode, connections: usize) -> String {
    match (mode, connections) {
        (Mode::Persistent, 1) => "one connection".to_owned(),
        (Mode::Persistent, count) => format!("{count} connections"),
        (Mode::OnePerRequest, count) => format!("a connection a request, {count} at a time"),
    }
}

/// The daemon beside servers that others rely on, 64 connections each, all of them started anew
/// for each round.
pub(crate) fn beside_others(programs: &Programs, effort: Effort) -> Result<Vec<Row>> {
    let names = ["ssh-agent listing a key", "redis", "memcached"];
    let goals = [2.0, 1.1, 1.0];
    let (mut ours, mut theirs) = (Measured::default(), <[Measured; 3]>::default());
    let mut missing = [const { None }; 3];
    for round in 0..effort.rounds {
        let world = World::hot(programs, &Setting::usual(programs))?;
        let service = world.service()?;
        let servers = [
            comparators::ssh_agent(),
            comparators::redis(service.answer()),
            comparators::memcached(service.answer()),
        ];
        let mut all = vec![Contestant::new(world.daemon()?.id(), &service, &mut ours)];
        for ((server, theirs), missing) in servers.iter().zip(&mut theirs).zip(&mut missing) {
            match server {
                Ok(server) => all.push(Contestant::of(server, theirs)),
                Err(why) => *missing = Some(why.clone()),
            }
        }
        in_turns(all, round, Mode::Persistent, 64, effort.length)?;
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

/// The loopback endpoint beside nginx with the same bytes in a file.
pub(crate) fn loopback(programs: &Programs, effort: Effort) -> Result<Vec<Row>> {
    const GROUP: &str = "The loopback endpoint";
    let setting = Setting {
        http: true,
        ..Setting::usual(programs)
    };
    let world = World::hot(programs, &setting)?;
    let answer = world.client().url(PROFILE)?;
    // The URL is a secret of this run's daemon, which holds nothing but emulated ones.
    let (address, path) = url(answer.url.expose())?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes();
    let service = Service::learn(address, request.clone(), request)?;
    let answer = service.answer();
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
            situation(mode, connections)
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
        for round in 0..effort.rounds {
            let pair = vec![
                Contestant::new(world.daemon()?.id(), &service, &mut ours),
                Contestant::of(nginx, &mut theirs),
            ];
            in_turns(pair, round, mode, connections, effort.length)?;
        }
        let figure = Figure::ratio(&ours.per_second, &theirs.per_second);
        let each = Figure::of(ours.per_second, Unit::Count).median.round();
        rows.push(Row::new(GROUP, what, figure, goal).remark(format!("{each} a second")));
    }
    Ok(rows)
}

/// What so many idle connections do to those who ask: the time of a hand-out with them by the
/// time without.
pub(crate) fn among_the_idle(service: &Service, idle: usize, effort: Effort) -> Result<Figure> {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        without.push(
            service
                .load(Mode::Persistent, 8, effort.length)?
                .per_second(),
        );
        let held = service.connections(idle)?;
        with.push(
            service
                .load(Mode::Persistent, 8, effort.length)?
                .per_second(),
        );
        drop(held);
        // They are gone for the server as well before the next round.
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(Figure::ratio(&without, &with))
}
