//! Decides which functions of the daemon lie side by side in its program: those that run in a
//! usual life, first what all of it needs until it rests. What linkers are told is not which
//! functions these are but what they are called, so it lasts from one compiler to the next.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, anyhow};

use crate::{
    process::Programs,
    tools::Tool,
    world::{PROFILE, Setting, World, profile},
};

/// Half of what they are together. A linker that finds less has an outdated script.
const LEAST_BYTES: usize = 640 * 1024;

/// Where a processor has instructions for it that callgrind's has not.
const UNSEEN: &str = "_R*_4sha*x86_sha*";

const MANY: usize = 150;

/// How much of a life is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// A start, a first session, a hand-out, an end.
    Short,
    /// By TLS, with a reload, and with profiles enough that collections of them grow.
    Long,
}

/// Writes a script for a linker.
pub(crate) fn write(programs: &Programs, script: &Path) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut text = format!(
        "/* Written by `cargo xtask layout`: the daemon's functions that run. */\n\
         SECTIONS {{\n.text.run : {{\n*crt1.o(.text)\n*(.text*.{UNSEEN})\n"
    );
    for life in [Life::Short, Life::Long] {
        let mut functions = BTreeSet::new();
        for daemon in ["stsd", "stsd-musl"] {
            functions.extend(run(programs, daemon, life)?);
        }
        let new: Vec<_> = functions.difference(&seen).cloned().collect();
        // Those that are said to be unlikely have a word before their name.
        text.extend(new.iter().map(|name| format!("*(.text*.{name})\n")));
        seen.extend(new);
    }
    text.push_str(&format!(
        "}}\n}} INSERT BEFORE .text;\nASSERT(SIZEOF(.text.run) > {LEAST_BYTES}, \
         \"most functions of layout.ld are not found: cargo xtask layout\")\n"
    ));
    fs::write(script, text).with_context(|| script.display().to_string())
}

fn run(programs: &Programs, daemon: &str, life: Life) -> Result<BTreeSet<String>> {
    let folder = tempfile::tempdir()?;
    let output = Tool::Callgrind.file(folder.path(), 0);
    let prefix = Tool::Callgrind
        .prefix(&output)
        .map_err(|why| anyhow!(why))?;
    let prefix: Vec<_> = prefix.iter().map(String::as_str).collect();
    let mut setting = Setting {
        daemon: programs.own(daemon),
        ..Setting::under(programs, &prefix)
    };
    if life == Life::Long {
        let python = programs.python.clone();
        setting.tls = Some(python.context("--python names one that can speak TLS")?);
        setting.profiles = MANY;
    }
    let mut world = World::hot(programs, &setting)?;
    // The audit leaves out the next ones, and says so later.
    for _ in 0..3 {
        world
            .client()
            .credentials(PROFILE, Duration::ZERO, Duration::from_secs(30))?;
    }
    if life == Life::Long {
        for index in 1..MANY {
            let client = world.client();
            client.credentials(&profile(index), Duration::ZERO, Duration::from_secs(30))?;
        }
        world.reload(&setting)?;
    }
    world.stop_watched()?;
    let text = fs::read_to_string(&output)?;
    Ok(text.lines().filter_map(function).map(pattern).collect())
}

/// Returns the function that a line of callgrind's profile names for the first time.
fn function(line: &str) -> Option<&str> {
    let named = line.strip_prefix("fn=").or(line.strip_prefix("cfn="))?;
    // One that calls itself has an apostrophe and a number as well.
    let name = named.split_once(' ')?.1.split('\'').next()?;
    let usual = |it: char| it.is_ascii_alphanumeric() || "_.$".contains(it);
    let is_one = name.chars().all(usual) && !name.starts_with(|it: char| it.is_ascii_digit());
    is_one.then_some(name)
}

/// Leaves out of a mangled name what the next compiler, or another C library, would have
/// otherwise: the numbers of crates (`Cs`), and what points back into the name (`B`).
fn pattern(name: &str) -> String {
    let Some((all, last)) = name.rsplit_once('_').filter(|_| name.starts_with("_R")) else {
        return name.to_owned();
    };
    let kept = |part: &str| {
        let ends = ["Cs", "B"]
            .iter()
            .filter_map(|it| part.find(it).map(|at| at + it.len()));
        ends.min()
            .map_or(part.to_owned(), |end| format!("{}*", &part[..end]))
    };
    let all: Vec<_> = all.split('_').map(kept).collect();
    format!("{}_{last}", all.join("_"))
}

#[cfg(test)]
mod tests {
    use super::{function, pattern};

    #[test]
    fn a_function_is_taken_by_its_name_alone() {
        let profile = "fn=(1) _RNvCs1Ab_4stsd4main\ncfn=(2) malloc'2\ncfn=(2)\n\
            fn=(3) 0x0000000000001050\nfn=(4) (below main)\nob=(5) /x\ncalls=1 2\n";
        let functions: Vec<_> = profile.lines().filter_map(function).collect();
        assert_eq!(functions, ["_RNvCs1Ab_4stsd4main", "malloc"]);
    }

    #[test]
    fn a_pattern_has_no_number_of_a_build() {
        for (name, expected) in [
            ("memcpy", "memcpy"),
            ("_RNvCs64PMdFr33Ln_4stsd4main", "_RNvCs*_4stsd4main"),
            (
                "_RNvXs_NtCs1z_5bytesNtB4_5Bytes4drop",
                "_RNvXs_NtCs*_5bytesNtB*_5Bytes4drop",
            ),
        ] {
            assert_eq!(pattern(name), expected);
        }
    }
}
