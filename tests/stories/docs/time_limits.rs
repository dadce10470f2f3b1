//! The time limits of ARCHITECTURE.md: each value is that of its constant, and each sum holds.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

/// The limits that are no constant, by the text below the table.
const ASSUMED: [(&str, Duration); 2] = [
    ("answer", Duration::from_secs(1)),
    ("pause", Duration::from_secs(1)),
];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn section() -> String {
    let text = read("ARCHITECTURE.md");
    let (_, rest) = text.split_once("### Time limits").unwrap();
    rest.split("\n## ").next().unwrap().to_owned()
}

fn in_backticks(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn seconds(text: &str) -> Duration {
    let number = text.trim().strip_suffix('s').unwrap().trim();
    Duration::from_secs_f64(number.parse().unwrap())
}

/// Returns the value of a constant in Rust, or of a setting of a unit.
fn value(source: &str, name: &str) -> Option<Duration> {
    let line = |start: &str| {
        let mut lines = source.lines().map(str::trim);
        lines.find_map(|it| Some(it.split_once(start)?.1.to_owned()))
    };
    if let Some(text) = line(&format!("const {name}: Duration = Duration::from_")) {
        let (unit, rest) = text.split_once('(')?;
        let number: f64 = rest.split(')').next()?.parse().ok()?;
        return match unit {
            "secs" => Some(Duration::from_secs_f64(number)),
            "millis" => Some(Duration::from_secs_f64(number / 1000.0)),
            _ => None,
        };
    }
    line(&format!("{name}=")).map(|it| seconds(&it))
}

/// Returns the limits of the table, after a comparison with the sources.
fn limits(section: &str) -> BTreeMap<String, Duration> {
    let mut limits = BTreeMap::new();
    for row in section.lines().filter(|it| it.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let name = in_backticks(cells[1])[0];
        let [path, constant, ..] = in_backticks(cells[3])[..] else {
            panic!("{row}");
        };
        let stated = seconds(cells[2]);
        assert_eq!(value(&read(path), constant), Some(stated), "{row}");
        limits.insert(name.to_owned(), stated);
    }
    assert!(limits.len() > 15, "the table was not found");
    limits
}

#[test]
fn time_limits_are_those_of_the_sources_and_add_up() {
    let section = section();
    let mut limits = limits(&section);
    limits.extend(ASSUMED.map(|(name, value)| (name.to_owned(), value)));
    let sums = section.split("```text").nth(1).unwrap();
    let sums = sums.split("```").next().unwrap().trim();
    let sum = |text: &str| -> Duration {
        let terms = text.split('+').map(str::trim);
        terms
            .map(|it| {
                limits
                    .get(it)
                    .unwrap_or_else(|| panic!("{it} has no value"))
            })
            .sum()
    };
    for line in sums.lines() {
        if let Some((inner, outer)) = line.split_once("<=") {
            assert!(sum(inner) <= sum(outer), "{line}");
        } else {
            let (inner, outer) = line.split_once('<').unwrap();
            assert!(sum(inner) < sum(outer), "{line}");
        }
    }
}
