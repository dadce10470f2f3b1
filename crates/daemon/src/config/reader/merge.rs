//! One configuration of the tables of several files: each table is in one file.

use std::mem;

use stsd_codes::Code;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    context::ReadContext,
    known_keys::{Shape, TOP_LEVEL},
    syntax::DUPLICATE_HINT,
};

/// Adds the tables of a file to those of the files before. A key, a table or a name that an earlier file
/// has too is an error.
pub(super) fn merge<'t>(
    context: &mut ReadContext<'_>,
    merged: &mut DeTable<'t>,
    added: DeTable<'t>,
) {
    for (name, mut value) in added {
        let Some(existing) = merged.get_mut(&**name.get_ref()) else {
            merged.insert(name, value);
            continue;
        };
        match (existing.get_mut(), value.get_mut()) {
            (DeValue::Table(existing), DeValue::Table(added)) if has_names(name.get_ref()) => {
                let added = mem::take(added);
                merge_named(context, existing, added, name.get_ref());
            }
            _ => {
                let key = name.get_ref().to_string();
                let first = merged.get_key_value(&**name.get_ref());
                let first = first.map_or(0, |(first, _)| first.span().start);
                report(context, &key, name.span().start, first);
            }
        }
    }
}

/// Adds the tables below `source` or `profile`.
fn merge_named<'t>(
    context: &mut ReadContext<'_>,
    merged: &mut DeTable<'t>,
    added: DeTable<'t>,
    kind: &str,
) {
    for (name, value) in added {
        match merged.get_key_value(&**name.get_ref()) {
            Some((first, _)) => {
                let key = format!("{kind}.{}", name.get_ref());
                report(context, &key, name.span().start, first.span().start);
            }
            None => {
                merged.insert(name, value);
            }
        }
    }
}

/// Returns `true` for `source` and `profile`, whose tables have names that the user chooses.
fn has_names(key: &str) -> bool {
    let known = TOP_LEVEL.iter().find(|it| it.name == key);
    known.is_some_and(|it| matches!(it.shape, Shape::NamedTables(_)))
}

fn report(context: &mut ReadContext<'_>, key: &str, at: usize, first: usize) {
    let [first, second] = [first, at].map(|at| {
        let (file, line) = context.place(at);
        format!("{}:{line}", file.display())
    });
    // Both, because stsctl import shows the problem without its place.
    let problem = format!("it is there twice: in {first} and in {second}");
    context.error_at(Code::ConfigDuplicateKey, at, key, &problem, DUPLICATE_HINT);
}

/// Moves the places of all keys and values of a table from the text of a file to the text of all files,
/// where the file begins at a byte offset.
pub(super) fn shift(table: &mut DeTable<'_>, start: usize) {
    for (name, mut value) in mem::take(table) {
        let name = moved(name, start);
        shift_value(value.get_mut(), start);
        table.insert(name, moved(value, start));
    }
}

fn shift_value(value: &mut DeValue<'_>, start: usize) {
    match value {
        DeValue::Table(table) => shift(table, start),
        DeValue::Array(items) => {
            for item in items.iter_mut() {
                shift_value(item.get_mut(), start);
                let span = item.span();
                let inner = mem::replace(item.get_mut(), DeValue::Boolean(false));
                *item = Spanned::new(span.start + start..span.end + start, inner);
            }
        }
        _ => {}
    }
}

fn moved<T>(spanned: Spanned<T>, start: usize) -> Spanned<T> {
    let span = spanned.span();
    Spanned::new(span.start + start..span.end + start, spanned.into_inner())
}
