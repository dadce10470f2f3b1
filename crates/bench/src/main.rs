//! `stsd-bench`: what the programs cost, beside others that do the same, as ratios within one
//! run. `cargo xtask bench` builds the programs and runs it.

mod budget;
mod comparators;
mod counts;
mod herd;
mod load;
mod machine;
mod page;
mod process;
mod reader;
mod rest;
mod serve;
mod spawn;
mod table;
mod tools;
mod world;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, ensure};
use comparators::Built;
use lexopt::prelude::*;
use process::Programs;
use rest::Extent;
use serve::Effort;
use table::Row;
use world::{Setting, World};

/// What was asked for. Not for humans: `cargo xtask bench` says it.
#[derive(Default)]
struct Options {
    folder: Option<PathBuf>,
    python: Option<PathBuf>,
    /// The shim is not the one that is given away.
    dynamic_shim: bool,
    out: Option<PathBuf>,
    docs: Option<PathBuf>,
    quick: bool,
    /// Count, and hold it against the budget; nothing else.
    budget: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            page::say(&format!("stsd-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let options = parse()?;
    let folder = options.folder.context("--programs names a folder")?;
    let programs = Programs {
        folder,
        python: options.python,
        shim_is_static: !options.dynamic_shim,
    };
    let descriptors = machine::raise_descriptors()?;
    if options.budget {
        return budget::check(&counts::all(&programs)?);
    }
    let rows = measure(&programs, options.quick, descriptors)?;
    page::show(&rows)?;
    if let Some(out) = options.out {
        page::files(&out, &rows)?;
    }
    let failed: Vec<_> = rows.iter().filter(|row| row.failed).collect();
    ensure!(
        failed.is_empty(),
        "{} parts could not be measured",
        failed.len()
    );
    options
        .docs
        .map_or(Ok(()), |docs| page::documentation(&docs, &rows))
}

fn parse() -> Result<Options> {
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("programs") => options.folder = Some(parser.value()?.into()),
            Long("python") => options.python = Some(parser.value()?.into()),
            Long("dynamic-shim") => options.dynamic_shim = true,
            Long("out") => options.out = Some(parser.value()?.into()),
            Long("docs") => options.docs = Some(parser.value()?.into()),
            Long("quick") => options.quick = true,
            Long("budget") => options.budget = true,
            _ => return Err(argument.unexpected().into()),
        }
    }
    ensure!(
        !options.quick || options.docs.is_none(),
        "a quick run is not for the documentation"
    );
    Ok(options)
}

fn measure(programs: &Programs, quick: bool, descriptors: u64) -> Result<Vec<Row>> {
    let (rounds, length) = if quick { (3, 200) } else { (7, 500) };
    let effort = Effort {
        rounds,
        length: Duration::from_millis(length),
    };
    let extent = match quick {
        true => Extent {
            rest: Duration::from_secs(10),
            connections: 2_000,
            profiles: 500,
        },
        false => Extent {
            rest: Duration::from_secs(30),
            connections: 10_000,
            profiles: 10_000,
        },
    };
    let (herds, spawns) = if quick { (2, 200) } else { (7, 1000) };
    let built = Built::compile()?;
    let mut rows = Vec::new();
    // What fails is a line of the result, and the end of the run a failure.
    let mut part = |name: &'static str, measured: &dyn Fn() -> Result<Vec<Row>>| {
        page::say(name);
        rows.extend(measured().unwrap_or_else(|error| vec![Row::failed(name, &error)]));
    };
    let counts = || {
        Ok(counts::all(programs)?
            .into_iter()
            .map(|it| it.row)
            .collect())
    };
    part("Counting", &counts);
    // The thousand may use all of the machine, and so may who starts them.
    part("A thousand processes at once", &|| {
        herd::measure(programs, herds)
    });
    machine::pin(None, machine::CALLER)?;
    let world = World::hot(programs, &Setting::usual(programs))?;
    part("Starting programs", &|| {
        spawn::compare(programs, &built, &world, spawns)
    });
    part("Asking, beside C", &|| {
        serve::beside_the_floor(programs, &built, effort)
    });
    part("Asking, beside others", &|| {
        serve::beside_others(programs, effort)
    });
    part("Asking by HTTP", &|| serve::loopback(programs, effort));
    part("Wake-ups", &|| rest::idle(programs, extent.rest));
    part("Memory", &|| rest::memory(programs));
    part("Idle connections", &|| {
        rest::connections(programs, &built, extent.connections, descriptors, effort)
    });
    part("Many profiles", &|| {
        rest::profiles(programs, extent.profiles)
    });
    part("Reading", &|| reader::measure(programs, rounds));
    Ok(grouped(rows))
}

/// Brings together what belongs together, in the order in which it came first.
fn grouped(rows: Vec<Row>) -> Vec<Row> {
    let mut order: Vec<&str> = Vec::new();
    for row in &rows {
        if !order.contains(&row.group) {
            order.push(row.group);
        }
    }
    let mut rows = rows;
    rows.sort_by_key(|row| order.iter().position(|it| *it == row.group));
    rows
}
