//! Decides what a thousand programs that start at once wait for: one call to STS, and not
//! one each.

use std::{
    io::{self, Read as _},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    machine::Began,
    process::Programs,
    spawn,
    table::{Figure, Goal, Row, Unit},
    world::{Setting, World},
};

const GROUP: &str = "A thousand processes at once";

/// How long STS takes.
const STS: Duration = Duration::from_millis(100);

/// So many herds where others have one round: one herd is one figure, and no two are alike.
const HERDS: usize = 3;

pub(crate) fn measure(programs: &Programs, rounds: usize) -> Result<Vec<Row>> {
    let (mut cold, mut hot, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds * HERDS {
        let world = World::cold(programs, &Setting::usual(programs))?;
        world.slow_sts(STS)?;
        cold.push(herd(programs, &world)?);
        calls.push(world.sts_calls()? as f64);
        hot.push(herd(programs, &world)?);
    }
    let cold_one = "until the last exit, cold profile and STS of 100 ms, beside a hot one";
    let milliseconds = Figure::of(hot.clone(), Unit::Count).median / 1000.0;
    let most = calls.into_iter().fold(0.0, f64::max);
    Ok(vec![
        Row::new(
            GROUP,
            "calls to STS",
            Figure::exactly(most, Unit::Count),
            Some(Goal::AtMost(1.0)),
        ),
        Row::new(
            GROUP,
            cold_one,
            Figure::ratio(&cold, &hot),
            Some(Goal::AtMost(1.2)),
        )
        .remark(format!("hot: {milliseconds:.0} ms")),
    ])
}

/// Starts them all, and returns the microseconds until the last one has ended: when nobody has
/// the end of a pipe any more that each of them has for its complaints. Whoever waited for one
/// after the other would be woken a thousand times while they work.
fn herd(programs: &Programs, world: &World) -> Result<f64> {
    let (mut complaints, theirs) = io::pipe()?;
    let began = Began::now();
    let mut children = Vec::with_capacity(1000);
    for _ in 0..1000 {
        let mut shim = spawn::shim(programs, world);
        let shim = shim
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(theirs.try_clone()?);
        children.push(shim.spawn().context("sts-shim")?);
    }
    drop(theirs);
    let mut said = String::new();
    complaints.read_to_string(&mut said)?;
    let took = began.micros();
    for child in &mut children {
        let status = child.wait()?;
        ensure!(status.success(), "sts-shim: {status}: {said}");
    }
    Ok(took)
}
