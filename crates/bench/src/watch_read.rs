//! The cost of a read of a watched profile, measured with the client's example `read_cost`: once
//! for the time, and twice under strace for the system calls.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{
    counting_tool::Tool,
    process::Programs,
    table::{Figure, Goal, Row, Unit},
};

const GROUP: &str = "The client crate";

pub(crate) fn measure(programs: &Programs, rounds: usize) -> Result<Vec<Row>> {
    let program = programs.required("read_cost");
    let times = (0..rounds).map(|_| nanoseconds(&program));
    let (own, shared) = times.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let what = "a read of a watched profile";
    let mut rows = vec![
        Row::new(
            GROUP,
            format!("{what}, by a handle of its own"),
            Figure::of(own, Unit::Nanoseconds),
            Some(Goal::AtMost(20.0)),
        ),
        Row::new(
            GROUP,
            format!("{what}, by one that is shared"),
            Figure::of(shared, Unit::Nanoseconds),
            None,
        ),
    ];
    let folder = tempfile::tempdir()?;
    let what = "system calls a read";
    let goal = Some(Goal::AtMost(0.0));
    let run = |reads: u32| -> Result<Result<f64, String>> {
        let output = Tool::Strace.file(folder.path(), reads as usize);
        let prefix = match Tool::Strace.prefix(&output) {
            Ok(prefix) => prefix,
            Err(why) => return Ok(Err(why)),
        };
        let mut command = Command::new(&prefix[0]);
        command
            .args(&prefix[1..])
            .arg(&program)
            .arg(reads.to_string());
        ensure!(command.output()?.status.success(), "read_cost under strace");
        Ok(Ok(Tool::Strace.read(&output)?.system_calls))
    };
    rows.push(match (run(1_000_000)?, run(2_000_000)?) {
        (Ok(few), Ok(many)) => {
            // One, two and four threads have made a million reads more each, with both kinds of
            // handle. Their join at the end is one system call more or less.
            let each = (many - few) / 14_000_000.0;
            let figure = Figure::exactly((each * 1000.0).round().abs() / 1000.0, Unit::Count);
            Row::new(GROUP, what, figure, goal)
        }
        (Err(why), _) | (_, Err(why)) => Row::missing(GROUP, what, goal, why),
    });
    Ok(rows)
}

/// Returns the nanoseconds of a read in one thread, with its own handle and with a shared one.
fn nanoseconds(program: &Path) -> Result<(f64, f64)> {
    let output = Command::new(program)
        .arg("5000000")
        .output()
        .context("read_cost")?;
    let stdout = String::from_utf8(output.stdout)?;
    let of = |suffix: &str| {
        let line = stdout.lines().find_map(|line| line.strip_suffix(suffix));
        line.and_then(|it| it.parse().ok())
            .context("read_cost printed no time")
    };
    Ok((of(" ns a read")?, of(" ns a shared read")?))
}
