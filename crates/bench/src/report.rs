//! The output of the results: the terminal, files, and `docs/performance.md`.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{machine, table::Row};

const BEGIN: &str = "<!-- Written by `cargo xtask bench --write-docs` from here -->";
const END: &str = "<!-- to here -->";

/// Writes `bench.json` and `bench.md` into a folder.
pub(crate) fn write_files(folder: &Path, rows: &[Row]) -> Result<()> {
    fs::create_dir_all(folder)?;
    let all = json!({
        "machine": machine::description(),
        "load_average": machine::load_average(),
        "rows": rows,
    });
    fs::write(folder.join("bench.json"), format!("{all:#}\n"))?;
    fs::write(folder.join("bench.md"), tables(rows))?;
    Ok(())
}

/// Replaces the tables in the documentation.
pub(crate) fn write_documentation(docs: &Path, rows: &[Row]) -> Result<()> {
    let path = docs.join("performance.md");
    let page = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (before, rest) = page
        .split_once(BEGIN)
        .context("the page has no line that begins the tables")?;
    let (_, after) = rest
        .split_once(END)
        .context("the page has no line that ends the tables")?;
    let part = format!("{BEGIN}\n\n{}\n{}\n{END}", summary(rows), tables(rows));
    fs::write(path, format!("{before}{part}{after}"))?;
    Ok(())
}

/// Prints the tables and the summary.
pub(crate) fn print(rows: &[Row]) -> Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{}\n{}", tables(rows), summary(rows))?;
    Ok(out.flush()?)
}

/// Prints a line. An error of stdout is ignored.
pub(crate) fn print_line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Returns the number of goals met and missed, and the machine.
fn summary(rows: &[Row]) -> String {
    let count = |met| {
        rows.iter()
            .filter(|row| row.met == met && row.goal.is_some())
            .count()
    };
    let (met, missed, unknown) = (count(Some(true)), count(Some(false)), count(None));
    let mut text = format!("{met} goals met, {missed} missed");
    if unknown > 0 {
        let _ = write!(text, ", {unknown} not measured");
    }
    let (machine, load) = (machine::description(), machine::load_average());
    text + &format!(". Measured on a {machine}; load average at the end {load}.\n")
}

fn tables(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut groups: Vec<&str> = Vec::new();
    for row in rows {
        if !groups.contains(&row.group) {
            groups.push(row.group);
        }
    }
    for group in groups {
        let _ = writeln!(
            text,
            "### {group}\n\n| | median | middle half | goal | |\n|---|---|---|---|---|"
        );
        for row in rows.iter().filter(|row| row.group == group) {
            let _ = writeln!(text, "| {} |", row.cells().join(" | "));
        }
        text.push('\n');
    }
    text
}
