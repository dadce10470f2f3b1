//! `cargo xtask prose`: the words of comments, doc comments, string literals and documents.
//!
//! docs/contributing/style.md has the rules. This command finds the violations of two of them
//! that a list of words can find: persons and metaphors where a program is meant (R1, R2), and
//! doc comments that open with a verb of telling (R6). Exceptions are in `prose-allow.txt`.

mod allow;
mod hash;
mod markdown;
mod rust;
mod words;

use std::{collections::BTreeMap, fs, process::Command};

use allow::AllowList;

use crate::process::{Outcome, output, root, say};

/// The file with the exceptions, from the root of the repository.
const ALLOW_LIST: &str = "crates/xtask/prose-allow.txt";

/// A line of text from a source file: of a comment, or of a string literal.
#[derive(Debug, PartialEq, Eq)]
struct Text {
    /// Line number, from 1.
    line: usize,
    /// The text without comment marks, code spans and escape sequences.
    text: String,
    /// `true` for the first line of a doc comment.
    opens_doc: bool,
}

/// A violation: a word of the list in a line of a file.
#[derive(Debug)]
struct Hit {
    path: String,
    word: &'static str,
    /// `path:line: word: the line`
    report: String,
}

/// Checks every tracked file, and prints the violations whose path starts with one of
/// `prefixes`, or all of them where there is no prefix.
pub(crate) fn check(prefixes: &[&str]) -> Outcome {
    let tracked = output(Command::new("git").arg("ls-files").current_dir(root()))?;
    let mut hits = Vec::new();
    for path in tracked.lines() {
        if let Some(texts) = reader(path) {
            hits.extend(hits_in(path, &read(path)?, texts));
        }
    }
    let allowed = read(ALLOW_LIST)?;
    let mut allowed = AllowList::parse(&allowed).map_err(|it| format!("{ALLOW_LIST}:{it}"))?;
    hits.retain(|hit| !allowed.permits(hit));
    let unused = allowed.unused();

    hits.retain(|hit| prefixes.is_empty() || prefixes.iter().any(|it| hit.path.starts_with(it)));
    let mut by_folder = BTreeMap::<_, usize>::new();
    for hit in &hits {
        say(&hit.report);
        *by_folder.entry(folder(&hit.path)).or_default() += 1;
    }
    for (folder, count) in &by_folder {
        say(&format!("{count:6}  {folder}"));
    }
    for entry in &unused {
        say(&format!("{ALLOW_LIST}:{entry}"));
    }
    if hits.is_empty() && unused.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} words that docs/contributing/style.md excludes, {} unused entries in {ALLOW_LIST}",
        hits.len(),
        unused.len()
    ))
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"))
}

/// Returns the function that reads a file's text, or `None` for a file that is not checked.
fn reader(path: &str) -> Option<fn(&str) -> Vec<Text>> {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "rs" => Some(rust::texts),
        "md" => Some(markdown::texts),
        "toml" | "sh" | "yml" | "service" | "socket" => Some(hash::texts),
        _ if name == "Dockerfile" || path == ".ci/run" => Some(hash::texts),
        _ => None,
    }
}

fn hits_in(path: &str, source: &str, texts: fn(&str) -> Vec<Text>) -> Vec<Hit> {
    let lines: Vec<&str> = source.lines().collect();
    let mut hits = Vec::new();
    for it in texts(source) {
        let line = it.line;
        let opener = words::opener(&it.text).filter(|_| it.opens_doc);
        for word in words::in_text(&it.text).into_iter().chain(opener) {
            let source = lines[line - 1].trim();
            hits.push(Hit {
                path: path.to_owned(),
                word,
                report: format!("{path}:{line}: {word}: {source}"),
            });
        }
    }
    hits
}

/// Returns the crate of a path, or its first folder, or `.` for a file at the root.
fn folder(path: &str) -> &str {
    let slashes = if path.starts_with("crates/") { 2 } else { 1 };
    let end = path.match_indices('/').nth(slashes - 1);
    end.map_or(".", |(index, _)| &path[..index])
}

#[cfg(test)]
mod tests {
    use super::{folder, hits_in, reader};

    fn check(path: &str, source: &str, expected: &[(usize, &str)]) {
        let hits = hits_in(path, source, reader(path).unwrap());
        let line = |report: &str| report.split(':').nth(1)?.parse().ok();
        let hits: Vec<(usize, _)> = hits
            .iter()
            .map(|hit| (line(&hit.report).unwrap(), hit.word))
            .collect();
        assert_eq!(hits, expected, "{source}");
    }

    #[test]
    fn rust_source_is_checked_in_comments_and_strings_only() {
        check("a.rs", "let nobody = Door { room, who };", &[]);
        check("a.rs", "x(); // Nobody waits\n", &[(1, "nobody")]);
        check(
            "a.rs",
            "/* one\n/* Doors */ a crowd */ room()",
            &[(2, "doors"), (2, "crowd")],
        );
        check("a.rs", "say(\"two\\nwho\");", &[(1, "who")]);
        check(
            "a.rs",
            "say(\"one \\\n  those who wait\");",
            &[(2, "those who")],
        );
        check(
            "a.rs",
            "r#\"a \"seat\" // b\"#; // bell",
            &[(1, "seat"), (1, "bell")],
        );
        check(
            "a.rs",
            "b\"room\"; br\"house\"; c\"desk\"",
            &[(1, "room"), (1, "house"), (1, "desk")],
        );
        check("a.rs", "f::<'a>('\"', b'\"', '\\'', '\\u{22}'); who()", &[]);
        check(
            "a.rs",
            "let it: &'who str = r#who; // 'door",
            &[(1, "door")],
        );
    }

    #[test]
    fn names_in_code_spans_and_format_arguments_are_not_words() {
        check(
            "a.rs",
            "// `room` and `a guest`, but a guest",
            &[(1, "guest")],
        );
        check("a.rs", "format!(\"{who}: {room:?} who\")", &[(1, "who")]);
        check(
            "a.rs",
            "// whose housekeeping is mushroom, bedroom_door, who_is",
            &[],
        );
    }

    #[test]
    fn doc_comment_is_checked_for_its_opening_verb() {
        check(
            "a.rs",
            "/// Decides it.\n/// Decides that.\nfn f() {}",
            &[(1, "Decides")],
        );
        check(
            "a.rs",
            "//! Tells whether\n\n/// Says that.",
            &[(1, "Tells whether"), (3, "Says that")],
        );
        check(
            "a.rs",
            "/** Looks whether */ // Says what",
            &[(1, "Looks whether")],
        );
        check("a.rs", "/// Says whatever.\n// Decides.\n//// Decides", &[]);
        check("a.rs", "//! One.\n/// Says what.", &[(2, "Says what")]);
    }

    #[test]
    fn other_files_are_checked_in_comments_only() {
        check("a.toml", "room = \"# who\" # desk", &[(1, "desk")]);
        check(
            "a.sh",
            "echo who \"${#room} # who\" $# # Whoever\n",
            &[(1, "whoever")],
        );
        check("a.service", "A=b#who\n # Anybody", &[(2, "anybody")]);
        assert!(reader("a.png").is_none() && reader(".ci/run").is_some());
    }

    #[test]
    fn markdown_is_checked_outside_of_code_and_targets() {
        check("a.md", "# Who\n\n```sh\nwho\n```\n", &[(1, "who")]);
        check("a.md", "a `who` [b](who.md) anybody", &[(1, "anybody")]);
        check("a.md", "`one\nwho` nobody\n", &[(2, "nobody")]);
    }

    #[test]
    fn folder_of_a_path_is_its_crate_or_its_first_part() {
        assert_eq!(folder("crates/sts/src/lib.rs"), "crates/sts");
        assert_eq!(folder("tests/stories/main.rs"), "tests");
        assert_eq!(folder("Cargo.toml"), ".");
    }
}
