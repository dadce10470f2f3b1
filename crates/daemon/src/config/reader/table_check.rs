//! The check of all keys before the values are read: unknown keys, wrong types and missing keys, all of
//! a configuration at once. A mistyped key is read as the key that was probably meant, so that the
//! mistakes in its value are reported as well.

use std::{borrow::Cow, collections::BTreeSet, mem};

use stsd_codes::Code;
use stsd_model::exact_duration;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    context::ReadContext,
    known_keys::{KnownKey, Shape, TOP_LEVEL, tables_with},
    suggestion::{MAX_SHOWN_NAME_CHARS, nearest, shown},
};

/// The key whose value is often a number of seconds by mistake.
const DURATION: &str = "duration";

/// The key whose example names a source: one of the file is better.
const SOURCE: &str = "source";

/// The keys of a key file, which are often written into the configuration.
const KEY_FILE_KEYS: [&str; 2] = ["access_key_id", "access_key_secret"];

/// Checks a file of a configuration. Keys that cannot be read are removed.
pub(super) fn check(context: &mut ReadContext<'_>, root: &mut DeTable<'_>) {
    check_table(context, root, TOP_LEVEL, "", 0);
}

/// Returns the name of the first source.
pub(super) fn first_source(root: &DeTable<'_>) -> Option<String> {
    let sources = root.get("source")?.get_ref().as_table()?;
    Some(sources.keys().next()?.get_ref().to_string())
}

/// Checks one table, which is at a byte offset of the file.
fn check_table(
    context: &mut ReadContext<'_>,
    table: &mut DeTable<'_>,
    keys: &'static [KnownKey],
    path: &str,
    at: usize,
) {
    let given = mem::take(table);
    let names: BTreeSet<String> = given
        .iter()
        .map(|(name, _)| name.get_ref().to_string())
        .collect();
    let mut seen = Vec::new();
    for (mut name, mut value) in given {
        let position = name.span().start;
        let known = match keys.iter().find(|it| it.name == name.get_ref()) {
            Some(known) => known,
            None => {
                let meant = report_unknown(context, keys, path, name.get_ref(), position);
                // Only a key that is not there as well is read, and never a path: its text would be
                // shown, and may be the secret itself.
                let meant = meant.filter(|it| {
                    let is_free = !names.contains(it.name) && !seen.contains(&it.name);
                    is_free && !matches!(it.shape, Shape::Path)
                });
                let Some(meant) = meant else {
                    context.damaged.push(path.to_owned());
                    continue;
                };
                name = Spanned::new(name.span(), meant.name.into());
                meant
            }
        };
        seen.push(known.name);
        let key = join(path, known.name);
        if check_value(context, &mut value, known, &key, position) {
            table.insert(name, value);
        } else {
            context.damaged.extend([path.to_owned(), key]);
        }
    }
    for key in keys
        .iter()
        .filter(|it| it.is_required && !seen.contains(&it.name))
    {
        let (path, mut hint) = (join(path, key.name), format!("add {}", key.example));
        if let (SOURCE, Some(name)) = (key.name, &context.first_source) {
            hint = format!("add source = {name:?}");
        }
        context.error_at(
            Code::ConfigMissingKey,
            at,
            &path,
            "the key is missing",
            &hint,
        );
    }
}

/// Checks the type of a value. Returns `false` for a value that cannot be read.
fn check_value(
    context: &mut ReadContext<'_>,
    value: &mut Spanned<DeValue<'_>>,
    key: &'static KnownKey,
    path: &str,
    position: usize,
) -> bool {
    let start = value.span().start;
    match (key.shape, value.get_mut()) {
        (Shape::Table(keys), DeValue::Table(table)) => {
            check_table(context, table, keys, path, position);
            true
        }
        (Shape::NamedTables(keys), DeValue::Table(tables)) => {
            check_named_tables(context, tables, key, keys, path);
            true
        }
        (Shape::TextTable, DeValue::Table(texts)) => check_texts(context, texts, key, path),
        (Shape::Text, DeValue::String(_)) | (Shape::Switch, DeValue::Boolean(_)) => true,
        (Shape::Number, DeValue::Integer(number)) if number.as_str().parse::<i64>().is_ok() => true,
        (Shape::Path, DeValue::String(text)) => {
            expand_home(context, text, path, start);
            true
        }
        (Shape::List | Shape::Paths | Shape::Program, DeValue::Array(items)) => {
            let mut valid = true;
            for (index, item) in items.iter_mut().enumerate() {
                let start = item.span().start;
                match item.get_mut() {
                    DeValue::String(text) if key.shape.is_path(index) => {
                        expand_home(context, text, path, start);
                    }
                    DeValue::String(_) => {}
                    other => {
                        report_type(context, other, key, path, start);
                        valid = false;
                    }
                }
            }
            valid
        }
        (_, other) => {
            report_type(context, other, key, path, position);
            false
        }
    }
}

/// Checks a table of texts. Returns `false` if a value is no text.
fn check_texts(
    context: &mut ReadContext<'_>,
    texts: &DeTable<'_>,
    key: &'static KnownKey,
    path: &str,
) -> bool {
    let mut valid = true;
    for (name, value) in texts {
        if !value.get_ref().is_str() {
            let (position, path) = (name.span().start, join(path, name.get_ref()));
            let problem = format!("{} instead of a text in quotes", kind(value.get_ref()));
            let hint = format!("for example {}", key.example);
            context.error_at(Code::ConfigWrongType, position, &path, &problem, &hint);
            valid = false;
        }
    }
    valid
}

fn check_named_tables(
    context: &mut ReadContext<'_>,
    tables: &mut DeTable<'_>,
    key: &'static KnownKey,
    keys: &'static [KnownKey],
    path: &str,
) {
    let mut is_reported = false;
    for (name, mut value) in mem::take(tables) {
        let (position, path) = (name.span().start, join(path, name.get_ref()));
        if let DeValue::Table(table) = value.get_mut() {
            check_table(context, table, keys, &path, position);
            tables.insert(name, value);
            continue;
        }
        // All keys of a table without its name have the same cause.
        if mem::replace(&mut is_reported, true) {
            continue;
        }
        context.damaged.push(key.name.to_owned());
        let problem = format!("{} instead of a table", kind(value.get_ref()));
        let hint = format!(
            "write {} above it: the table has a name of your own",
            key.example
        );
        context.error_at(Code::ConfigWrongType, position, &path, &problem, &hint);
    }
}

/// Reports an unknown key. Returns the key that a misspelt one means.
fn report_unknown(
    context: &mut ReadContext<'_>,
    keys: &'static [KnownKey],
    path: &str,
    name: &str,
    position: usize,
) -> Option<&'static KnownKey> {
    if context.has_too_many_errors() {
        return None;
    }
    // The name is no key, and may be anything, a secret included.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let is_shown = name.len() <= MAX_SHOWN_NAME_CHARS && name.chars().all(is_plain);
    let (path, problem) = match is_shown {
        true => (join(path, name), format!("there is no key {name} here")),
        false => (path.to_owned(), "there is no such key here".to_owned()),
    };
    let mut near = None;
    let elsewhere = tables_with(name);
    let hint = if KEY_FILE_KEYS.contains(&name) {
        "put access_key_id and access_key_secret into a file of their own, mode 0600, and name the \
         file: access_key_file = \"uploader.key\""
            .to_owned()
    } else if !elsewhere.is_empty() {
        let tables = elsewhere.join(" and ");
        format!("{name} is a key of {tables}; a key belongs to the header above it")
    } else if let Some(found) = nearest(name, keys.iter().map(|it| it.name)) {
        let hint = format!("did you mean {}?", found.name);
        near = Some(found).filter(|it| it.is_misspelt);
        hint
    } else {
        let all: Vec<_> = keys.iter().map(|it| it.name).collect();
        format!("there are: {}", all.join(", "))
    };
    context.error_at(Code::ConfigUnknownKey, position, &path, &problem, &hint);
    keys.iter()
        .find(|it| near.as_ref().is_some_and(|near| near.name == it.name))
}

/// Reports a value of the wrong type. A text is not shown: a misplaced value may be a secret.
fn report_type(
    context: &mut ReadContext<'_>,
    value: &DeValue<'_>,
    key: &KnownKey,
    path: &str,
    at: usize,
) {
    if let (DURATION, DeValue::Integer(number)) = (key.name, value) {
        let seconds = number.as_str().parse().ok();
        let example = seconds.map_or_else(|| "1h".to_owned(), exact_duration);
        let problem = format!(
            "{} has no unit: a duration is a text with its unit",
            shown(number.as_str()).trim_matches('"')
        );
        let hint = format!("duration = \"{example}\"");
        context.error_at(Code::ConfigWrongType, at, path, &problem, &hint);
        return;
    }
    let expected = match key.shape {
        Shape::Text | Shape::Path => "a text in quotes",
        Shape::Number => "a whole number",
        Shape::Switch => "true or false",
        Shape::List | Shape::Paths | Shape::Program => "a list of texts",
        Shape::TextTable | Shape::Table(_) | Shape::NamedTables(_) => "a table",
    };
    let found = match (key.shape, value) {
        // The text that belongs here may be a secret.
        (Shape::Text | Shape::Path, DeValue::Integer(_) | DeValue::Float(_)) => {
            "a number".to_owned()
        }
        _ => kind(value),
    };
    let problem = format!("{found} instead of {expected}");
    let hint = format!("for example {}", key.example);
    context.error_at(Code::ConfigWrongType, at, path, &problem, &hint);
}

/// Returns the type of a value, with the value where it cannot be a secret.
fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(_) => "a text".to_owned(),
        DeValue::Integer(number) => {
            format!("the number {}", shown(number.as_str()).trim_matches('"'))
        }
        DeValue::Float(number) => {
            format!("the number {}", shown(number.as_str()).trim_matches('"'))
        }
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Reports a path that begins with `~`, which only a shell expands, and goes on with the expanded one.
fn expand_home(context: &mut ReadContext<'_>, text: &mut Cow<'_, str>, path: &str, at: usize) {
    let Some(rest) = text.strip_prefix('~') else {
        return;
    };
    if !rest.is_empty() && !rest.starts_with('/') {
        return;
    }
    let home = context.environment.text("HOME");
    let full = home.map(|it| format!("{}{rest}", it.trim_end_matches('/')));
    let problem = format!("{}: ~ is not expanded in this file", shown(text));
    let hint = match &full {
        Some(full) => format!("write \"{full}\""),
        None => "write the full path".to_owned(),
    };
    context.error_at(Code::ConfigInvalidValue, at, path, &problem, &hint);
    if let Some(full) = full {
        *text = full.into();
    }
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        _ => format!("{path}.{name}"),
    }
}
