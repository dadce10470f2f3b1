//! Decides whether we may depend on what we depend on: the lists of `deny.toml`, read against
//! the lock files and `cargo tree`. cargo-deny reads the same file and more, but takes minutes
//! to compile, so the gate runs it only where it is installed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crate::process::{Outcome, cargo_command, root, run, say};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Each workspace, as the folder of its manifest and lock file.
const WORKSPACES: [&str; 2] = [".", "fuzz"];

/// A workspace of which nothing ships: it comes from where the others do, with no banned
/// package, and the licences are those of the libraries that it shows.
const EXAMPLES: &str = "examples/rust";

/// Returns what was not looked at.
pub(crate) fn check() -> Result<String, String> {
    let rules = Rules::read()?;
    for folder in WORKSPACES {
        locked(folder, &rules)?;
        licences(folder, &rules)?;
    }
    locked(EXAMPLES, &rules)?;
    let deny = cargo_command(&["deny", "--version"]).output();
    if !deny.is_ok_and(|output| output.status.success()) {
        return Ok("cargo-deny, which is not installed, and with it the advisories".to_owned());
    }
    let mut deny = cargo_command(&["deny", "--locked", "--log-level", "error", "check"]);
    run(deny.args(["licenses", "sources", "bans"]))?;
    Ok("advisories: `cargo deny check advisories` needs github.com".to_owned())
}

struct Rules {
    licences: Vec<String>,
    banned: Vec<String>,
    /// A package and the licence that is allowed to it alone.
    exception: [String; 2],
}

impl Rules {
    fn read() -> Result<Self, String> {
        let text = read("deny.toml")?;
        let section = |name: &str| {
            let rest = text.split_once(&format!("[{name}]"))?.1;
            Some(rest.split("\n[").next().unwrap_or(rest))
        };
        let list = |name: &str, key: &str| -> Option<Vec<String>> {
            let rest = section(name)?.split_once(&format!("\n{key} = ["))?.1;
            let lines = rest.split("\n]").next()?.lines();
            let lines = lines.filter(|line| !line.trim_start().starts_with('#'));
            Some(lines.filter_map(first_quoted).collect())
        };
        let exception = |key: &str| {
            let mut lines = section("licenses.exceptions]")?.lines();
            first_quoted(lines.find(|line| line.starts_with(key))?)
        };
        let rules = || {
            Some(Self {
                licences: list("licenses", "allow")?,
                banned: list("bans", "deny")?,
                exception: [exception("crate")?, exception("allow")?],
            })
        };
        rules().ok_or_else(|| "deny.toml: the lists are not where they were".to_owned())
    }

    /// Every part that must hold needs an alternative that is allowed. Parentheses are taken
    /// for nothing, which can only refuse too much.
    fn allow(&self, package: &str, licence: &str) -> bool {
        let [excepted, also] = &self.exception;
        licence.split(" AND ").all(|part| {
            part.split(" OR ").flat_map(|it| it.split('/')).any(|name| {
                let name = name.trim_matches(['(', ')', ' ']);
                self.licences.iter().any(|allowed| allowed == name)
                    || (package == excepted && name == also)
            })
        })
    }
}

/// Sources and bans, over everything that any system or feature would build.
fn locked(folder: &str, rules: &Rules) -> Outcome {
    let lock = read(&format!("{folder}/Cargo.lock"))?;
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let mut lines = package.lines();
            first_quoted(lines.find(|line| line.starts_with(key))?)
        };
        let name = value("name = ").unwrap_or_default();
        if let Some(source) = value("source = ").filter(|source| source != CRATES_IO) {
            return Err(format!("{name} comes from {source}, not from crates.io"));
        }
        if rules.banned.contains(&name) {
            return Err(format!("{name} is banned: deny.toml says why"));
        }
        versions
            .entry(name)
            .or_default()
            .extend(value("version = "));
    }
    let count = versions.len();
    say(&format!(
        "{folder}/Cargo.lock: {count} packages, all from crates.io, none banned"
    ));
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        say(&format!(
            "{folder}/Cargo.lock: {name} is there as {}",
            versions.join(", ")
        ));
    }
    Ok(())
}

fn licences(folder: &str, rules: &Rules) -> Outcome {
    let mut tree = cargo_command(&["tree", "--locked", "--workspace", "--prefix", "none"]);
    tree.args(["--edges", "normal,build,dev", "--format", "{p}|{l}"]);
    let manifest = format!("{folder}/Cargo.toml");
    let output = tree.args(["--manifest-path", &manifest]).output();
    let output = output.map_err(|error| format!("cargo tree does not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let packages: BTreeSet<_> = text.lines().filter(|line| !line.is_empty()).collect();
    if !output.status.success() || packages.is_empty() {
        // The likeliest reason: the fuzz targets are to be built with what ships.
        return Err(format!(
            "cargo tree says nothing of {manifest}; after a change of dependencies, run \
             `cp Cargo.lock fuzz/ && cargo tree --manifest-path fuzz/Cargo.toml`"
        ));
    }
    for package in packages {
        let (name, licence) = package.rsplit_once('|').unwrap_or((package, ""));
        let name = name.split(' ').next().unwrap_or(name);
        let licence = licence.trim_end_matches(" (*)");
        if !rules.allow(name, licence) {
            return Err(format!(
                "{name} is licensed as {licence:?}, which deny.toml lacks"
            ));
        }
    }
    say(&format!("{manifest}: every licence is allowed"));
    Ok(())
}

fn first_quoted(line: &str) -> Option<String> {
    line.split('"').nth(1).map(str::to_owned)
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::Rules;

    #[test]
    fn every_part_of_a_licence_needs_an_alternative_that_is_allowed() {
        let rules = Rules::read().unwrap();
        assert!(rules.banned.iter().any(|name| name == "openssl"));
        let check = |package: &str, licence: &str, allowed| {
            assert_eq!(
                rules.allow(package, licence),
                allowed,
                "{package} {licence}"
            );
        };
        check("a", "MIT", true);
        check("a", "MIT/Apache-2.0", true);
        check("a", "Unlicense OR MIT", true);
        check("a", "(MIT OR Apache-2.0) AND Unicode-3.0", true);
        check("a", "Apache-2.0 AND OpenSSL", false);
        check("a", "GPL-3.0-only", false);
        check("a", "", false);
        check("libfuzzer-sys", "(MIT OR Apache-2.0) AND NCSA", true);
        check("a", "(MIT OR Apache-2.0) AND NCSA", false);
    }
}
