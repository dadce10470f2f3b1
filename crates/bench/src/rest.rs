//! Decides what the daemon costs while nobody asks: wake-ups, and memory by what it holds.

use std::{thread, time::Duration};

use anyhow::Result;

use crate::{
    comparators::{self, Built},
    machine::{anonymous, resident, wake_ups},
    process::Programs,
    serve::{Effort, among_the_idle},
    table::{Figure, Goal, Row, Unit},
    world::{Setting, World, profile},
};

const GROUP: &str = "The daemon at rest";

/// With ten thousand idle connections.
const MOST_KILOBYTES: Goal = Goal::AtMost(16_000.0);

/// How often what one start holds is measured: how much of its file the kernel maps differs.
const STARTS: usize = 5;

/// How long nothing happens, how many are connected, and how many profiles there are.
pub(crate) struct Extent {
    pub(crate) rest: Duration,
    pub(crate) connections: usize,
    pub(crate) profiles: usize,
}

pub(crate) fn idle(programs: &Programs, rest: Duration) -> Result<Vec<Row>> {
    let world = World::hot(programs, &Setting::usual(programs))?;
    let pid = world.daemon()?.id();
    // The thread that looked a name up leaves after ten seconds; a start is no rest.
    thread::sleep(Duration::from_secs(12));
    let before = wake_ups(pid)?;
    thread::sleep(rest);
    let each = (wake_ups(pid)? - before) / (rest.as_secs_f64() / 10.0);
    let figure = Figure::exactly(each, Unit::Count);
    let row = Row::new(GROUP, "wake-ups in 10 s", figure, Some(Goal::AtMost(1.0)));
    Ok(vec![row.remark(format!("over {} s", rest.as_secs()))])
}

pub(crate) fn memory(programs: &Programs) -> Result<Vec<Row>> {
    Ok(vec![
        resting(programs, "stsd", "glibc", 7000.0)?,
        resting(programs, "stsd-musl", "musl", 4500.0)?,
    ])
}

fn resting(programs: &Programs, name: &str, library: &str, limit: f64) -> Result<Row> {
    let what = format!("resident memory with the TLS client, {library}");
    let goal = Some(Goal::AtMost(limit));
    let Some(daemon) = programs.perhaps(name) else {
        return Ok(Row::missing(
            GROUP,
            what,
            goal,
            format!("no daemon for {library}"),
        ));
    };
    let setting = Setting {
        daemon,
        ..Setting::usual(programs)
    };
    let start = |_| {
        let world = World::hot(programs, &setting)?;
        thread::sleep(Duration::from_secs(1));
        Ok(resident(world.daemon()?.id())? * 1.024)
    };
    let kilobytes = (0..STARTS).map(start).collect::<Result<_>>()?;
    let figure = Figure::of(kilobytes, Unit::Kilobytes);
    Ok(Row::new(GROUP, what, figure, goal).remark(format!("of {STARTS} starts")))
}

pub(crate) fn connections(
    programs: &Programs,
    built: &Built,
    count: usize,
    descriptors: u64,
    effort: Effort,
) -> Result<Vec<Row>> {
    let whats = [
        format!("resident memory, {count} idle connections, glibc"),
        format!("a hand-out among {count} idle connections, beside one without them"),
    ];
    // The goals are for ten thousand.
    let whole = count == 10_000;
    let goals = [MOST_KILOBYTES, Goal::AtMost(1.05)].map(|it| whole.then_some(it));
    // The daemon keeps a quarter of its own for everything else.
    if descriptors * 3 / 4 < count as u64 + 64 {
        let why = format!("no more than {descriptors} open files are allowed here");
        let row = |(what, goal)| Row::missing(GROUP, what, goal, &why);
        return Ok(whats.into_iter().zip(goals).map(row).collect());
    }
    let world = World::hot(programs, &Setting::usual(programs))?;
    let kilobytes = crowded(&world, count)?;
    thread::sleep(Duration::from_millis(500));
    let ours = among_the_idle(&world.service()?, count, effort)?;
    let figures = [Figure::exactly(kilobytes, Unit::Kilobytes), ours];
    let rows = whats.into_iter().zip(goals).zip(figures);
    let row = |((what, goal), figure)| Row::new(GROUP, what, figure, goal);
    let mut rows: Vec<_> = rows.map(row).collect();
    // What the kernel and the generator add is the same for everybody.
    if let Ok(floor) = comparators::floor(built, &world.service()?) {
        let theirs = among_the_idle(&floor.service, count, effort)?;
        rows[1].remark = format!("the C server: {}", Unit::Ratio.show(theirs.median));
    }
    if let Some(daemon) = programs.perhaps("stsd-musl") {
        let setting = Setting {
            daemon,
            ..Setting::usual(programs)
        };
        let kilobytes = crowded(&World::hot(programs, &setting)?, count)?;
        let what = format!("resident memory, {count} idle connections, musl");
        let figure = Figure::exactly(kilobytes, Unit::Kilobytes);
        let goal = whole.then_some(MOST_KILOBYTES);
        rows.insert(1, Row::new(GROUP, what, figure, goal));
    }
    Ok(rows)
}

/// Resident kilobytes while so many are connected that have been served.
fn crowded(world: &World, count: usize) -> Result<f64> {
    let _held = world.service()?.connections(count)?;
    thread::sleep(Duration::from_millis(500));
    Ok(resident(world.daemon()?.id())? * 1.024)
}

/// What one more profile with a session holds.
pub(crate) fn profiles(programs: &Programs, count: usize) -> Result<Vec<Row>> {
    let held = |profiles: usize| -> Result<f64> {
        let setting = Setting {
            profiles,
            ..Setting::usual(programs)
        };
        let world = World::hot(programs, &setting)?;
        let client = world.client();
        for index in 1..profiles {
            // The daemon makes a hundred calls a second and no more.
            client.credentials(&profile(index), Duration::ZERO, Duration::from_secs(30))?;
        }
        thread::sleep(Duration::from_secs(1));
        // How much of the program was needed so far is no profile's.
        anonymous(world.daemon()?.id())
    };
    let kilobytes = (held(count)? - held(1)?) * 1.024 / (count - 1) as f64;
    let what = format!("memory a profile with its session, of {count}");
    let figure = Figure::exactly(kilobytes, Unit::Kilobytes);
    // A profile's snapshot is in a channel of tokio's, which takes some hundred bytes.
    Ok(vec![Row::new(GROUP, what, figure, Some(Goal::AtMost(4.0)))])
}
