//! `stsd-bench`: the costs of the programs, as ratios to other programs that do the same, measured
//! within one run. `cargo xtask bench` builds the programs and runs it.

mod budget;
mod callgrind;
mod comparators;
mod counting_tool;
mod idle_memory;
mod instruction_counts;
mod load;
mod machine;
mod process;
mod report;
mod sandbox;
mod startup;
mod strace;
mod table;
mod throughput;
mod thundering_herd;
mod watch_read;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, ensure};
use comparators::CPrograms;
use idle_memory::IdlePlan;
use lexopt::prelude::*;
use process::Programs;
use sandbox::{DaemonOptions, Sandbox};
use table::Row;
use throughput::RunPlan;

/// The command line, which `cargo xtask bench` composes.
#[derive(Default)]
struct Options {
    folder: Option<PathBuf>,
    python: Option<PathBuf>,
    /// `true` if the shim is not the released, static one.
    dynamic_shim: bool,
    out: Option<PathBuf>,
    docs: Option<PathBuf>,
    quick: bool,
    /// `true` to only check the counts against the budget.
    budget: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::print_line(&format!("stsd-bench: {error:#}"));
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
    let open_file_limit = machine::raise_open_file_limit()?;
    if options.budget {
        return budget::check(&instruction_counts::all(&programs)?);
    }
    let rows = measure(&programs, options.quick, open_file_limit)?;
    report::print(&rows)?;
    if let Some(out) = options.out {
        report::write_files(&out, &rows)?;
    }
    let failed: Vec<_> = rows.iter().filter(|row| row.failed).collect();
    ensure!(
        failed.is_empty(),
        "{} parts could not be measured",
        failed.len()
    );
    options
        .docs
        .map_or(Ok(()), |docs| report::write_documentation(&docs, &rows))
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
        "--quick and --docs exclude each other: the documentation needs a full run"
    );
    Ok(options)
}

fn measure(programs: &Programs, quick: bool, open_file_limit: u64) -> Result<Vec<Row>> {
    let (rounds, millis) = if quick { (3, 200) } else { (7, 500) };
    let plan = RunPlan {
        rounds,
        duration: Duration::from_millis(millis),
    };
    let idle_plan = match quick {
        true => IdlePlan {
            duration: Duration::from_secs(10),
            connections: 2_000,
            profiles: 500,
        },
        false => IdlePlan {
            duration: Duration::from_secs(30),
            connections: 10_000,
            profiles: 10_000,
        },
    };
    let (herds, starts) = if quick { (2, 200) } else { (7, 1000) };
    let c_programs = CPrograms::compile()?;
    let mut rows = Vec::new();
    // A part that fails is a line of the result, and the run fails at its end.
    let mut part = |name: &'static str, measure: &dyn Fn() -> Result<Vec<Row>>| {
        report::print_line(name);
        rows.extend(measure().unwrap_or_else(|error| vec![Row::failed(name, &error)]));
    };
    let counts = || {
        Ok(instruction_counts::all(programs)?
            .into_iter()
            .map(|it| it.row)
            .collect())
    };
    part("Counts", &counts);
    // Before this process is pinned: the thousand processes and their parent use all processors.
    part("A thousand processes at once", &|| {
        thundering_herd::measure(programs, herds)
    });
    machine::pin_to_cpu(None, machine::CLIENT_CPU)?;
    let sandbox = Sandbox::with_session(programs, &DaemonOptions::new(programs))?;
    part("Starts of programs", &|| {
        startup::compare(programs, &c_programs, &sandbox, starts)
    });
    part("Throughput, beside C", &|| {
        throughput::vs_baseline(programs, &c_programs, plan)
    });
    part("Throughput, beside other servers", &|| {
        throughput::vs_servers(programs, plan)
    });
    part("Throughput by HTTP", &|| {
        throughput::vs_nginx(programs, plan)
    });
    part("Wake-ups", &|| {
        idle_memory::idle(programs, idle_plan.duration)
    });
    part("Memory", &|| idle_memory::memory(programs));
    part("Idle connections", &|| {
        idle_memory::connections(
            programs,
            &c_programs,
            idle_plan.connections,
            open_file_limit,
            plan,
        )
    });
    part("Many profiles", &|| {
        idle_memory::profiles(programs, idle_plan.profiles)
    });
    part("Reads of a watched profile", &|| {
        watch_read::measure(programs, rounds)
    });
    Ok(grouped(rows))
}

/// Returns the rows by group, with the groups in the order of their first rows.
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
