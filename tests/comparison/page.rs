//! `docs/comparison.md`: text written by hand, and a table that a run writes.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use crate::measure::{GETS, GETS_IN_OUTAGE, Gets, OUTAGE, Row};

const BEGIN: &str = "<!-- Written by `cargo xtask compare` from here -->";
const END: &str = "<!-- to here -->";

/// Returns `true` if `cargo xtask compare` has set the variable.
pub(crate) fn is_to_be_written() -> bool {
    env::var_os("STSD_COMPARISON").is_some_and(|it| it == "write")
}

pub(crate) fn read() -> String {
    fs::read_to_string(path()).unwrap()
}

/// Replaces the generated part. The runtimes are below the table, because they differ between machines
/// and the gate does not compare them.
pub(crate) fn write(rows: &[Row]) {
    let page = read();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the mark");
    let (_, after) = rest.split_once(END).expect("the page has both marks");
    let table = table(rows).join("\n");
    let runtimes: Vec<_> = rows.iter().filter_map(|row| row.runs_on.clone()).collect();
    let runtimes = runtimes.join(" and ");
    let part = format!("{BEGIN}\n\n{table}\n\nLast run with {runtimes}.\n\n{END}");
    fs::write(path(), format!("{before}{part}{after}")).unwrap();
}

/// Returns the table, line by line.
pub(crate) fn table(rows: &[Row]) -> Vec<String> {
    let heading = format!(
        "| | {GETS} gets in a row, 900 s sessions | {GETS} first gets at once | \
         {GETS_IN_OUTAGE} gets, STS down, 898 s left | \
         {GETS_IN_OUTAGE} gets, STS down, session over |"
    );
    let mut lines = vec![heading, "|---|---|---|---|---|".into()];
    lines.extend(rows.iter().map(line));
    lines
}

fn line(row: &Row) -> String {
    let (gets, cost) = &row.outage;
    format!(
        "| {} | {} | {} | {}; {} | {} |",
        row.library,
        calls(row.in_a_row),
        calls(row.at_once),
        outcome(gets, "served"),
        calls(*cost),
        outcome(&row.expired, "served an expired credential"),
    )
}

fn calls(count: u64) -> String {
    match count {
        1 => "1 call".into(),
        _ => format!("{count} calls"),
    }
}

/// Returns the answers to gets, each kind with its number.
fn outcome(gets: &Gets, served: &str) -> String {
    let mut answers = BTreeMap::<String, usize>::new();
    if gets.served() > 0 {
        answers.insert(served.into(), gets.served());
    }
    for refusal in gets.refusals() {
        let cause = match refusal.names_the_cause() {
            true => format!(" naming `{OUTAGE}`"),
            false => String::new(),
        };
        let answer = format!("refused with {}{cause}", refusal.name);
        *answers.entry(answer).or_default() += 1;
    }
    let told = answers
        .iter()
        .map(|(answer, count)| format!("{count} {answer}"));
    told.collect::<Vec<_>>().join(", ")
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/comparison.md")
}
