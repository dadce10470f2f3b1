//! Commands in the documents. A shell runs each block as it stands, stops at the first command that
//! fails, and reports its line in the document.

use std::{collections::BTreeSet, fs};

use e2e::not_run;

use super::{options, page::Block, world::World};

pub(crate) const LANGUAGES: [&str; 4] = ["sh", "bash", "console", "fish"];

/// Commands that are not run, and the reason. A block with such a command is not run at all; the
/// options of its commands are checked all the same.
pub(crate) const NOT_RUN: [(&str, &str); 7] = [
    ("cargo xtask check", "it is a part of the gate, as this is"),
    (
        "cargo xtask dist --native",
        "the packages' own stories pack these programs",
    ),
    (
        "cargo xtask live live.toml",
        "it needs an account; its own stories run it against the emulator",
    ),
    ("cargo xtask compare", "it measures for minutes"),
    ("cargo xtask bench", "it measures for minutes"),
    (
        "stsctl init --profile oss-upload",
        "it asks at a terminal: the story of the way to the first upload runs it",
    ),
    (
        "journalctl -u stsd STSD_PROFILE=oss-upload",
        "there is no journal here; tests/systemd reads one by its fields",
    ),
];

/// The seconds of a block, and the exit code of `timeout` for a missing program.
const BOUND: &str = "60";
const NO_PROGRAM: i32 = 127;

/// The commands of a block, each in one line and without its comment.
pub(crate) fn commands(block: &Block) -> Vec<String> {
    let text = typed(block).replace("\\\n", " ");
    let without_comment = |line: &str| {
        let line = line.split(" #").next().unwrap_or_default().trim();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let lines = text.lines().map(without_comment);
    lines
        .filter(|it| !it.is_empty() && !it.starts_with('#'))
        .collect()
}

/// Returns the commands of a console block, without the output.
fn typed(block: &Block) -> String {
    if block.language != "console" {
        return block.text.clone();
    }
    let line = |it: &str| it.strip_prefix("$ ").unwrap_or_default().to_owned() + "\n";
    block.text.lines().map(line).collect()
}

/// Returns the command and the reason for which a block is not run, or `None`.
pub(crate) fn reason(block: &Block) -> Option<(&'static str, &'static str)> {
    let commands = commands(block);
    let known = |(command, _): &&(&str, &str)| commands.iter().any(|it| it.ends_with(command));
    NOT_RUN.iter().find(known).copied()
}

pub(crate) fn is_run(block: &Block) -> bool {
    LANGUAGES.contains(&block.language.as_str()) && reason(block).is_none()
}

/// Checks the options of the commands of a block.
pub(crate) fn look(block: &Block) -> Result<(), String> {
    for command in commands(block) {
        if let Some(wrong) = options::wrong(&command).or_else(|| of_another_version(&command)) {
            return Err(format!("{}: {command}: {wrong}", block.place()));
        }
    }
    Ok(())
}

/// Returns the mistake in a package name with another version.
fn of_another_version(command: &str) -> Option<String> {
    let version = env!("CARGO_PKG_VERSION");
    let packages = command.split(' ').filter(|it| it.contains("dist/out/stsd"));
    let other = packages.into_iter().find(|it| !it.contains(version));
    other.map(|it| format!("{it} is not of version {version}"))
}

/// Runs a block.
///
/// # Errors
/// The line of the document that failed, and the output.
pub(crate) fn run(world: &World, block: &Block) -> Result<(), String> {
    let shell = if block.language == "fish" {
        "fish"
    } else {
        "bash"
    };
    // A command that does not end fails.
    let mut command = world.command("timeout");
    command.args([BOUND, shell]);
    let text = world.here(&typed(block));
    // Empty lines keep the line numbers of the document.
    let above = "\n".repeat(block.line);
    let script = world.env.path("script");
    let stop = match shell {
        "bash" => "set -eEu -o pipefail; trap 'echo \"stopped at line $LINENO\" >&2' ERR",
        _ => "",
    };
    fs::write(&script, format!("{stop}{above}{text}")).unwrap();
    let output = match command.arg(&script).output() {
        Ok(output) => output,
        Err(error) => return Err(format!("timeout: {error}")),
    };
    if shell == "fish" && output.status.code() == Some(NO_PROGRAM) {
        not_run(&format!("{}: there is no fish here", block.place()));
        return Ok(());
    }
    e2e::assert_no_secrets(&block.place(), &output.stdout);
    e2e::assert_no_secrets(&block.place(), &output.stderr);
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(());
    }
    let line = said
        .lines()
        .find_map(|it| it.strip_prefix("stopped at line "));
    let line = line.map_or(block.line + 1, |it| it.parse().unwrap());
    let shown = String::from_utf8_lossy(&output.stdout);
    Err(format!(
        "{}:{line}: {}\n{shown}{said}",
        block.page, output.status
    ))
}

/// Returns the commands of [`NOT_RUN`] that no document has.
pub(crate) fn leftovers(blocks: &[Block]) -> impl Iterator<Item = &'static str> {
    let used: BTreeSet<_> = blocks.iter().filter_map(|it| Some(reason(it)?.0)).collect();
    let named = NOT_RUN.iter().map(|(command, _)| *command);
    named.filter(move |it| !used.contains(it))
}
