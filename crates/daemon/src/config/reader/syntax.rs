//! The errors of a text that is not TOML, with the first place of a key that is there twice.

use std::{
    collections::BTreeSet,
    mem,
    path::{Path, PathBuf},
};

use stsd_codes::Code;
use toml::de::Error;

use super::{
    context::{MAX_ERRORS, ReadContext},
    known_keys::tables_with,
};
use crate::config::ConfigError;

/// The parser's message for a key or a table that is there twice.
const DUPLICATE: &str = "duplicate key";

/// The hint of a key or a table that is there twice.
pub(super) const DUPLICATE_HINT: &str = "remove one of the two, or give one of them another name";

/// The errors of the parser, and the parts of the text of which other errors may only follow from them.
#[derive(Default)]
pub(super) struct BrokenText {
    errors: Vec<ConfigError>,
    /// The files and lines with an error.
    lines: BTreeSet<(PathBuf, usize)>,
    /// The tables that are there twice: the parser has joined both.
    joined_tables: Vec<String>,
}

impl BrokenText {
    /// Adds the errors of the parser for a file, whose text begins at a byte offset.
    pub(super) fn report(
        &mut self,
        context: &mut ReadContext<'_>,
        text: &str,
        start: usize,
        errors: &[Error],
    ) {
        let others = mem::replace(&mut context.errors, mem::take(&mut self.errors));
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            // One mistake often breaks the rest of its line too.
            if !self.lines.insert(context.place(start + at)) || context.has_too_many_errors() {
                continue;
            }
            let key = key_at(text, at);
            if self.is_in_joined_table(&key) {
                continue;
            }
            if error.message().starts_with(DUPLICATE) {
                let first = first_line(text, &key, at);
                report_duplicate(context, &key, start + at, first);
                let is_header = line_at(text, at).1.trim_start().starts_with('[');
                self.joined_tables.extend(is_header.then_some(key));
                continue;
            }
            let problem = format!("this is not TOML: {}", error.message());
            let hint = hint(error.message(), text, at);
            context.error_at(Code::ConfigSyntax, start + at, &key, &problem, hint);
        }
        self.errors = mem::replace(&mut context.errors, others);
    }

    /// Adds the errors of the parser to those of the values, by file and line. Errors that only follow
    /// are dropped: those on the same lines and in joined tables, and missing keys and sources, which
    /// may be in a part or a table that was not read whole.
    pub(super) fn add_to(self, context: &mut ReadContext<'_>) {
        let (errors, damaged) = (&mut context.errors, &context.damaged);
        let has_lost_keys = self.errors.iter().any(|it| it.code == Code::ConfigSyntax);
        let is_damaged = |key: &str| damaged.iter().any(|it| it == key);
        let has_lost_names = ["", "source", "profile"].into_iter().any(is_damaged);
        let may_follow = |it: &ConfigError| match it.code {
            Code::ConfigMissingKey => has_lost_keys || is_damaged(&it.key),
            Code::ConfigUnknownName => {
                (has_lost_keys || has_lost_names) && it.key.ends_with(".source")
            }
            _ => false,
        };
        errors.retain(|it| {
            let place = it.line.map(|line| (it.file.clone(), line));
            let is_broken = place.is_some_and(|it| self.lines.contains(&it));
            !is_broken && !self.is_in_joined_table(&it.key) && !may_follow(it)
        });
        errors.extend(self.errors);
        let order = |file: &Path| context.text.paths().position(|it| it == file);
        errors.sort_by_key(|it| (order(&it.file), it.line));
        errors.dedup_by_key(|it| (it.code, it.file.clone(), it.line, it.problem.clone()));
        errors.truncate(MAX_ERRORS);
    }

    fn is_in_joined_table(&self, key: &str) -> bool {
        let is_inside = |table: &String| {
            let rest = key.strip_prefix(table.as_str());
            rest.is_some_and(|it| it.starts_with('.'))
        };
        self.joined_tables.iter().any(is_inside)
    }
}

fn report_duplicate(context: &mut ReadContext<'_>, key: &str, at: usize, first: Option<usize>) {
    let problem = match first {
        Some(line) => format!("it is there twice: first on line {line}"),
        None => "it is there twice".to_owned(),
    };
    context.error_at(Code::ConfigDuplicateKey, at, key, &problem, DUPLICATE_HINT);
}

/// Returns the first line, from 1, of a key or a table that is there again at a byte offset.
fn first_line(text: &str, key: &str, at: usize) -> Option<usize> {
    let before = line_at(text, at).0;
    let mut table = "";
    for (index, line) in text[..before].lines().enumerate() {
        let found = if line.trim_start().starts_with('[') {
            table = table_name(line).unwrap_or_default();
            table.to_owned()
        } else {
            let name = line.split('=').next().unwrap_or_default().trim();
            match table {
                "" => name.to_owned(),
                _ => format!("{table}.{name}"),
            }
        };
        if !key.is_empty() && found == key {
            return Some(index + 1);
        }
    }
    None
}

/// Returns the hint for an error of the parser, by its message and its line.
fn hint(message: &str, text: &str, at: usize) -> &'static str {
    let line = line_at(text, at).1;
    if message.contains("array") {
        return "an array is [\"one\", \"two\"]: a comma between values, and ] at its end";
    }
    if message.starts_with("invalid ") && message.contains(" string") {
        return "a text ends with the same quote with which it begins, on the same line";
    }
    let value = line.split_once('=').map(|(_, value)| value.trim_start());
    match value {
        Some(value)
            if value.starts_with(|c: char| c.is_ascii_alphanumeric() || "/~.".contains(c)) =>
        {
            "put the text in quotes: key = \"value\""
        }
        Some("") => "write a value after the =, such as key = \"value\"",
        None if line.trim_start().starts_with('[') => {
            "the header of a table is [name] or [name.name]; a name has no spaces"
        }
        None => "a line is key = value, the header of a table in [ ], or a comment after #",
        Some(_) => "man stsd-config has an example of every key",
    }
}

/// Returns the key on the line of a byte offset, with its table; an empty text for a line without a
/// key.
pub(super) fn key_at(text: &str, at: usize) -> String {
    let (start, line) = line_at(text, at);
    if line.trim_start().starts_with('[') {
        return table_name(line).unwrap_or_default().to_owned();
    }
    let key = line.split('=').next().unwrap_or_default().trim();
    // The text before a = may be anything, a secret included.
    if !line.contains('=') || tables_with(key).is_empty() {
        return String::new();
    }
    let headers = text[..start].lines().rev();
    let mut headers = headers.filter(|it| it.trim_start().starts_with('['));
    match headers.next().map(table_name) {
        Some(Some(table)) => format!("{table}.{key}"),
        // Without a table, or in one whose name is not shown.
        _ => key.to_owned(),
    }
}

/// Returns the line of a byte offset, and the offset of its beginning.
fn line_at(text: &str, at: usize) -> (usize, &str) {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    (start, text[start..].lines().next().unwrap_or_default())
}

/// Returns the name in the header of a table, if it can be shown: a table of a configuration, without
/// quotes.
fn table_name(header: &str) -> Option<&str> {
    let header = header.split('#').next().unwrap_or_default();
    let name = header.trim().trim_matches(['[', ']']).trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let first = name.split('.').next().unwrap_or_default();
    let is_shown = !tables_with(first).is_empty() && name.chars().all(is_plain);
    is_shown.then_some(name)
}
