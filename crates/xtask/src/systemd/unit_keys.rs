//! Tests of the keys in the units: systemd from 239 on must start the units.

use std::{collections::BTreeMap, fs};

use crate::process::root;

const OLDEST: u32 = 239;

/// A key of `tests/systemd/since.txt`.
struct Key {
    /// The first version of systemd that knows the key.
    since: u32,
    /// The service does not work without the key.
    is_needed: bool,
}

fn keys() -> BTreeMap<String, Key> {
    let text = read("tests/systemd/since.txt");
    let lines = text.lines().filter(|it| !it.starts_with('#'));
    let key = |line: &str| {
        let mut words = line.split(' ');
        let (name, since) = (words.next()?, words.next()?.parse().ok()?);
        let is_needed = words.next() == Some("needed");
        Some((name.to_owned(), Key { since, is_needed }))
    };
    lines.map(|line| key(line).unwrap()).collect()
}

/// Returns the keys in the lines of all units; a key in a comment begins with `#`.
fn used() -> Vec<String> {
    let units = [
        "user/stsd.service",
        "user/stsd.socket",
        "user/no-user-namespaces.conf",
        "system/stsd.service",
        "system/stsd.socket",
    ];
    let text: String = units.map(|it| read(&format!("systemd/{it}"))).concat();
    let names = text
        .lines()
        .filter_map(|it| it.split_once('='))
        .map(|it| it.0);
    let is_key = |name: &&str| {
        let name = name.strip_prefix('#').unwrap_or(name);
        !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric())
    };
    names.filter(is_key).map(str::to_owned).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn each_key_of_a_unit_has_its_first_version() {
    let known = keys();
    let used = used();
    assert!(used.len() > 100, "{used:?}");
    for key in &used {
        let name = key.trim_start_matches('#');
        assert!(known.contains_key(name), "{name}= is not in since.txt");
    }
    let is_used = |name: &str| used.iter().any(|it| it.trim_start_matches('#') == name);
    for name in known.keys() {
        assert!(is_used(name), "{name}= of since.txt is in no unit");
    }
}

#[test]
fn key_that_a_service_needs_is_not_younger_than_systemd_239() {
    for (name, key) in keys() {
        let is_in_force = used().contains(&name);
        assert!(!(key.is_needed && is_in_force), "{name}=");
    }
}

#[test]
fn page_of_the_platforms_has_each_key_younger_than_systemd_239() {
    for page in ["docs/platforms.md", "docs/zh/platforms.md"] {
        let text = read(page);
        for (name, key) in keys().into_iter().filter(|(_, it)| it.since > OLDEST) {
            let row = format!("| `{name}=` | {} |", key.since);
            assert!(text.contains(&row), "{page}: {row}");
        }
    }
}
