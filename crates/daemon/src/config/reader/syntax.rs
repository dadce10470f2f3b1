//! The errors of a text that is not TOML, with the first place of a key that is there twice.

use stsd_codes::Code;
use toml::de::{DeTable, DeValue, Error};

use super::context::ReadContext;

/// The parser's message for a key or a table that is there twice.
const DUPLICATE: &str = "duplicate key";

/// Reports the errors of the parser. Returns the lines that hold one.
pub(super) fn report(
    context: &mut ReadContext<'_>,
    errors: &[Error],
    root: &DeTable<'_>,
) -> Vec<usize> {
    let mut lines = Vec::new();
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        let line = context.line(at);
        // One mistake often breaks the rest of its line too.
        if lines.contains(&line) {
            continue;
        }
        lines.push(line);
        let key = key_at(&context.text, at);
        if error.message().starts_with(DUPLICATE) {
            report_duplicate(context, root, &key, at);
            continue;
        }
        let problem = format!("this is not TOML: {}", error.message());
        let hint = hint(&context.text, at);
        context.error_at(Code::ConfigSyntax, at, &key, &problem, hint);
    }
    lines
}

fn report_duplicate(context: &mut ReadContext<'_>, root: &DeTable<'_>, key: &str, at: usize) {
    let first = first_position(root, key).filter(|it| *it < at);
    let problem = match first {
        Some(first) => format!("it is there twice: first on line {}", context.line(first)),
        None => "it is there twice".to_owned(),
    };
    let hint = "remove one of the two, or give one of them another name";
    context.error_at(Code::ConfigDuplicateKey, at, key, &problem, hint);
}

/// Returns the position of a key, with its table, in the file.
fn first_position(root: &DeTable<'_>, key: &str) -> Option<usize> {
    let mut table = root;
    let mut found = None;
    for part in key.split('.') {
        let (name, value) = table.iter().find(|(name, _)| name.get_ref() == part)?;
        found = Some(name.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    found
}

/// Returns the hint for the line of an error.
fn hint(text: &str, at: usize) -> &'static str {
    let line = line_at(text, at).1;
    let value = line.split_once('=').map(|(_, value)| value.trim_start());
    match value {
        Some(value)
            if value.starts_with(|c: char| c.is_ascii_alphabetic() || "/~.".contains(c)) =>
        {
            "put the text in quotes: key = \"value\""
        }
        Some("") => "write a value after the =, such as key = \"value\"",
        None if line.trim_start().starts_with('[') => {
            "the header of a table is [name] or [name.name]"
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
    if !line.contains('=') || !is_plain(key) {
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

/// Returns the name in the header of a table, if it can be shown.
fn table_name(header: &str) -> Option<&str> {
    let name = header.trim().trim_matches(['[', ']']);
    let is_header = !header.contains(['=', ',', '#']);
    (is_header && is_plain(name)).then_some(name)
}

/// Returns `true` if a text is a short key without quotes.
fn is_plain(key: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    key.len() <= 80 && key.chars().all(plain)
}
