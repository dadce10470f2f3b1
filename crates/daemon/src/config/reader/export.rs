//! The `[profile.NAME.file]` tables, and the check that no two writers share a file.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use stsd_codes::Code;
use stsd_document::Format;

use super::{
    context::ReadContext,
    spanned::Spanned,
    suggestion::{self, shown},
};
use crate::{config::FileRef, profile::ExportFile, runtime::atomic_file};

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
    let path = context.resolve(given.get_ref());
    let path = std::path::absolute(&path).unwrap_or(path);
    context.export_files.push(FileRef {
        path: path.clone(),
        line: context.line(at),
        key: key.clone(),
    });
    if let Err(error) = atomic_file::check(&path) {
        context.error_at(
            Code::ConfigOutputFile,
            at,
            &key,
            &error.to_string(),
            &error.hint(),
        );
    }
    let format = match &raw.format {
        None => Some(Format::default()),
        Some(name) => Format::from_name(name.get_ref()).or_else(|| {
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
            None
        }),
    };
    let format = format?;
    Some(ExportFile { path, format })
}

/// Rejects export files that are also written by another export, read by the daemon, or created by
/// the daemon beside its socket: one of the two contents would be lost.
pub(super) fn reject_duplicate_files(context: &mut ReadContext<'_>) {
    let runtime_files = context.environment.runtime_files.iter();
    let runtime_files: BTreeSet<_> = runtime_files.map(|it| canonical(it)).collect();
    let mut used: BTreeSet<_> = context.used_files.iter().map(|it| canonical(it)).collect();
    for FileRef { path, line, key } in context.export_files.clone() {
        if runtime_files.contains(&canonical(&path)) {
            let problem = format!(
                "{} is the daemon's own: a socket, or the master secret of the URLs",
                path.display()
            );
            let hint = "give the profile a file of its own";
            context.error_on_line(Code::ConfigConflict, line, &key, &problem, hint);
        } else if !used.insert(canonical(&path)) {
            let problem = format!("{} is used for something else as well", path.display());
            let hint = "give each profile a file of its own";
            context.error_on_line(Code::ConfigConflict, line, &key, &problem, hint);
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
