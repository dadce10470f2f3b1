//! A thundering herd: a thousand programs that start at once cause one call to STS, not a
//! thousand.

use std::{
    io::{self, Read as _},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    machine::Stopwatch,
    process::Programs,
    sandbox::{DaemonOptions, Sandbox},
    startup,
    table::{Figure, Goal, Row, Unit},
};

const GROUP: &str = "A thousand processes at once";

/// The delay of STS.
const STS_DELAY: Duration = Duration::from_millis(100);

/// Herds for each round of other measurements: a herd is a single figure, and the figures spread.
const RUNS_PER_ROUND: usize = 3;

pub(crate) fn measure(programs: &Programs, rounds: usize) -> Result<Vec<Row>> {
    let (mut cold, mut hot, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds * RUNS_PER_ROUND {
        let sandbox = Sandbox::without_session(programs, &DaemonOptions::new(programs))?;
        sandbox.delay_sts(STS_DELAY)?;
        cold.push(run_herd(programs, &sandbox)?);
        calls.push(sandbox.sts_calls()? as f64);
        hot.push(run_herd(programs, &sandbox)?);
    }
    let cold_one = "until the last exit, cold profile and STS of 100 ms, beside a hot one";
    let milliseconds = Figure::of(hot.clone(), Unit::Count).median / 1000.0;
    let max_calls = calls.into_iter().fold(0.0, f64::max);
    Ok(vec![
        Row::new(
            GROUP,
            "calls to STS",
            Figure::exactly(max_calls, Unit::Count),
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

/// Starts a thousand shims, and returns the microseconds until the last one has exited. The end of
/// the pipe that is their stderr marks that moment; a wait for each process would wake this one a
/// thousand times during the measurement.
fn run_herd(programs: &Programs, sandbox: &Sandbox) -> Result<f64> {
    let (mut stderr, stderr_writer) = io::pipe()?;
    let stopwatch = Stopwatch::start();
    let mut children = Vec::with_capacity(1000);
    for _ in 0..1000 {
        let mut shim = startup::shim(programs, sandbox);
        let shim = shim
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr_writer.try_clone()?);
        children.push(shim.spawn().context("sts-shim")?);
    }
    drop(stderr_writer);
    let mut errors = String::new();
    stderr.read_to_string(&mut errors)?;
    let micros = stopwatch.elapsed_micros();
    for child in &mut children {
        let status = child.wait()?;
        ensure!(status.success(), "sts-shim: {status}: {errors}");
    }
    Ok(micros)
}
