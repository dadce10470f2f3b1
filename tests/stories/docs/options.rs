//! Commands of the documents: their subcommands and options are those of the program's `--help`.

use std::{collections::BTreeMap, fs, path::Path, process::Command, sync::Mutex};

use e2e::program;

use super::page::root;

/// The output of each `--help`, which is run once.
static HELP: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// Returns the mistake in a command line of the project, or of systemd about its units.
pub(crate) fn wrong(line: &str) -> Option<String> {
    let words: Vec<_> = line.split_whitespace().collect();
    let mut words = &words[..];
    // Variables of the command alone.
    while let [first, rest @ ..] = words
        && (*first == "sudo" || is_variable(first))
    {
        words = rest;
    }
    match words {
        [
            name @ ("stsd" | "sts-shim" | "stsd-emulator" | "stsd-oss-client"),
            rest @ ..,
        ] => options(&[name], rest),
        ["stsctl", rest @ ..] => stsctl(rest),
        ["cargo", "xtask", rest @ ..] => xtask(rest),
        ["systemctl" | "journalctl", rest @ ..] => units(rest),
        _ => None,
    }
}

fn is_variable(word: &str) -> bool {
    let name = word.split_once('=').map_or("", |(name, _)| name);
    let plain = |c: char| c.is_ascii_uppercase() || c == '_';
    !name.is_empty() && name.chars().all(plain)
}

fn stsctl(words: &[&str]) -> Option<String> {
    let mut rest = words;
    if let ["--socket", _, behind @ ..] = rest {
        rest = behind;
    }
    match rest {
        [name, rest @ ..] if !name.starts_with('-') => options(&["stsctl", name], rest),
        _ => options(&["stsctl"], rest),
    }
}

/// Returns the first option that the program's help does not have.
fn options(program: &[&str], words: &[&str]) -> Option<String> {
    let shown = program.join(" ");
    let Some(help) = help(program) else {
        return Some(format!("there is no {shown}"));
    };
    let own = words
        .iter()
        .take_while(|it| !matches!(**it, "--" | "|" | "&&" | ">" | ";"));
    for word in own {
        let option = word.split(['=', '…', '[']).next().unwrap_or_default();
        let known = |it: &str| it.trim_matches([',', '.', '`']) == option;
        if option.starts_with('-') && !help.split_whitespace().any(known) {
            return Some(format!("{shown} has no option {option}"));
        }
    }
    None
}

fn help(names: &[&str]) -> Option<String> {
    let key = names.join(" ");
    if let Some(help) = HELP.lock().unwrap().get(&key) {
        return Some(help.clone());
    }
    let mut command = Command::new(program(names[0]));
    let output = command.args(&names[1..]).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let help = output.status.success().then_some(help)?;
    HELP.lock().unwrap().insert(key, help.clone());
    Some(help)
}

fn xtask(words: &[&str]) -> Option<String> {
    // xtask has one help text for all its commands.
    let main = fs::read_to_string(root().join("crates/xtask/src/main.rs")).unwrap();
    let help = main.split("const HELP").nth(1)?.split("\";").next()?;
    let name = words.first().copied().unwrap_or_default();
    let command = help
        .lines()
        .any(|it| it.split_whitespace().next() == Some(name));
    let missing = words.iter().filter(|it| it.starts_with("--"));
    let missing = missing.into_iter().find(|it| !help.contains(*it));
    match (command, missing) {
        (false, _) => Some(format!("cargo xtask has no {name}")),
        (_, Some(option)) => Some(format!("cargo xtask {name} has no option {option}")),
        _ => None,
    }
}

/// Returns the first unit of the project that is not in `systemd/user` or `systemd/system`.
fn units(words: &[&str]) -> Option<String> {
    let folder = if words.contains(&"--user") {
        "user"
    } else {
        "system"
    };
    let folder = Path::new("systemd").join(folder);
    let ours = words.iter().filter(|it| it.starts_with("stsd."));
    ours.into_iter()
        .find(|it| !root().join(&folder).join(it).exists())
        .map(|it| format!("{} has no {it}", folder.display()))
}
