//! The `[profile.NAME.file]` tables, and the check that no two writers share a file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use stsd_codes::Code;
use stsd_document::{Format, MappedKey, MappedValue};

use super::{
    context::ReadContext,
    spanned::Spanned,
    suggestion::{self, nearest, shown},
};
use crate::{
    config::FileRef,
    profile::{ExportFile, FileContent},
    runtime::atomic_file,
};

/// The parts of a session that a program needs together.
const SESSION_PARTS: [(&str, MappedValue); 3] = [
    ("access_key_id", MappedValue::AccessKeyId),
    ("access_key_secret", MappedValue::AccessKeySecret),
    ("security_token", MappedValue::SecurityToken),
];

/// The keys of a file, each with the name of its value.
type RawKeys = BTreeMap<Spanned<String>, Spanned<String>>;

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    /// The path of the file. The directory must exist. It and each directory above must belong to the
    /// daemon's user or to root, and [be writable for no other user](configuration.md#trust-in-files);
    /// the directory itself also not with the sticky bit. The daemon replaces and removes any file at
    /// this path.
    #[cfg_attr(test, schemars(required))]
    path: Option<Spanned<String>>,
    /// A format of `sts-shim --format`: `union`, `aliyun`, `oss`, `aws`, `uri`, `env`, `dotenv`,
    /// `json`.
    format: Option<Spanned<String>>,
    /// In place of `format`: the keys of a JSON file, for a program that
    /// [expects keys of its own](migration.md#a-script-with-its-own-file). Each key names its value:
    /// `access_key_id`, `access_key_secret`, `security_token`; `expiration`, as RFC 3339 in UTC;
    /// `expiration_unix_seconds` and `expiration_unix_milliseconds`, as numbers;
    /// `expiration_unix_seconds_text` and `expiration_unix_milliseconds_text`, as texts; `request_id`,
    /// of the call to STS, empty for a session that is passed through; or a fixed text, as
    /// `text:cn-hongkong`. The file has the keys in the order of the configuration, and no nested
    /// keys.
    keys: Option<Spanned<RawKeys>>,
}

/// Returns the file of an export; `None` if the table has an error that hides the format.
pub(super) fn export_file(
    context: &mut ReadContext<'_>,
    raw: &RawFile,
    table: &str,
) -> Option<ExportFile> {
    // The missing key is reported with those of the other tables.
    let given = raw.path.as_ref()?;
    let (at, key) = (given.span().start, format!("{table}.file.path"));
    let path = context.resolve(given.get_ref(), at);
    let path = std::path::absolute(&path).unwrap_or(path);
    let named = context.file_ref(path.clone(), at, &key);
    context.export_files.push(named);
    if !context.is_portable()
        && let Err(error) = atomic_file::check(&path)
    {
        context.error_at(
            Code::ConfigOutputFile,
            at,
            &key,
            &error.to_string(),
            &error.hint(),
        );
    }
    let content = content(context, raw, table)?;
    Some(ExportFile { path, content })
}

fn content(context: &mut ReadContext<'_>, raw: &RawFile, table: &str) -> Option<FileContent> {
    if let Some(keys) = &raw.keys {
        if raw.format.is_some() {
            let key = format!("{table}.file.keys");
            let problem = "format and keys exclude each other";
            let hint = "leave out format, or leave out keys";
            context.error_at(Code::ConfigConflict, keys.span().start, &key, problem, hint);
        }
        return mapped_keys(context, keys, table).map(FileContent::Keys);
    }
    let Some(name) = &raw.format else {
        return Some(FileContent::Format(Format::default()));
    };
    let format = Format::from_name(name.get_ref());
    if format.is_none() {
        let key = format!("{table}.file.format");
        let problem = format!("{} is not a format", shown(name.get_ref()));
        let known: Vec<_> = Format::NAMES.split(", ").collect();
        let hint = suggestion::with_names(name.get_ref(), &known);
        context.error_at(
            Code::ConfigUnknownName,
            name.span().start,
            &key,
            &problem,
            &hint,
        );
    }
    format.map(FileContent::Format)
}

/// Returns the keys in the order of the file; `None` if one has no value.
fn mapped_keys(
    context: &mut ReadContext<'_>,
    raw: &Spanned<RawKeys>,
    table: &str,
) -> Option<Box<[MappedKey]>> {
    let (at, key) = (raw.span().start, format!("{table}.file.keys"));
    if raw.get_ref().is_empty() {
        let hint = "name each key of the file, as in keys = { id = \"access_key_id\" }";
        context.error_at(Code::ConfigMissingKey, at, &key, "there is no key", hint);
        return None;
    }
    // The map has the order of the alphabet.
    let mut raw: Vec<_> = raw.get_ref().iter().collect();
    raw.sort_by_key(|(name, _)| name.span().start);
    let mut mapped = Vec::with_capacity(raw.len());
    for (name, value) in &raw {
        let Some(value) = mapped_value(context, name, value, &key) else {
            continue;
        };
        let name = name.get_ref().as_str().into();
        mapped.push(MappedKey { name, value });
    }
    if mapped.len() < raw.len() {
        return None;
    }
    warn_of_missing_parts(context, &mapped, at, &key);
    Some(mapped.into())
}

/// Returns the value of a key. The error does not show the text, which may be a misplaced secret.
fn mapped_value(
    context: &mut ReadContext<'_>,
    name: &Spanned<String>,
    value: &Spanned<String>,
    table: &str,
) -> Option<MappedValue> {
    let mapped = MappedValue::from_name(value.get_ref());
    if mapped.is_none() {
        let key = format!("{table}.{}", name.get_ref());
        let problem = "there is no such value";
        let near = nearest(value.get_ref(), MappedValue::NAMES.split(", "));
        let hint = match near {
            Some(near) => format!("did you mean {}?", near.name),
            None => format!(
                "the values are {}; for a fixed text, put text: before it",
                MappedValue::NAMES
            ),
        };
        context.error_at(
            Code::ConfigUnknownName,
            value.span().start,
            &key,
            problem,
            &hint,
        );
    }
    mapped
}

fn warn_of_missing_parts(context: &mut ReadContext<'_>, keys: &[MappedKey], at: usize, key: &str) {
    let is_missing = |part: &MappedValue| keys.iter().all(|it| it.value != *part);
    let missing: Vec<_> = SESSION_PARTS
        .iter()
        .filter(|(_, part)| is_missing(part))
        .map(|(name, _)| *name)
        .collect();
    if !missing.is_empty() {
        let problem = format!("no key of the file has {}", missing.join(", "));
        let hint = "the AccessKey of a session works only with its secret and its security token";
        context.warn_at(Code::ConfigMissingKey, at, key, &problem, hint);
    }
}

/// Rejects export files that are also written by another export, read by the daemon, or created by
/// the daemon beside its socket: one of the two contents would be lost.
pub(super) fn reject_duplicate_files(context: &mut ReadContext<'_>) {
    let runtime_files = context.environment.runtime_files.iter();
    let runtime_files: BTreeSet<_> = runtime_files.map(|it| canonical(it)).collect();
    let mut used: BTreeSet<_> = context.used_files.iter().map(|it| canonical(it)).collect();
    for named in context.export_files.clone() {
        let FileRef { path, .. } = &named;
        if runtime_files.contains(&canonical(path)) {
            let problem = format!(
                "{} is the daemon's own: a socket, or the master secret of the URLs",
                path.display()
            );
            let hint = "give the profile a file of its own";
            context.error_of_named(Code::ConfigConflict, &named, &problem, hint);
        } else if !used.insert(canonical(path)) {
            let problem = format!("{} is used for something else as well", path.display());
            let hint = "give each profile a file of its own";
            context.error_of_named(Code::ConfigConflict, &named, &problem, hint);
        }
    }
}

/// Returns one path for one file, by the canonical path of its directory.
fn canonical(path: &Path) -> PathBuf {
    let real = atomic_file::split(path)
        .ok()
        .and_then(|(directory, name)| Some(fs::canonicalize(directory).ok()?.join(name)));
    real.unwrap_or_else(|| path.to_owned())
}
