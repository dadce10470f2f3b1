//! Decides what a profile's file and command mean: where one may stand, and what may be run.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;
use serde::Deserialize;
use stsd_document::Format;

use super::{FileRef, Reader, Spanned};
use crate::{identity::ProcessEnvironment, profile::ExportFile, runtime::atomic_file};

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    /// Where the file stands. The directory must exist, be the daemon's own or root's, and be writable for nobody
    /// else, sticky or not. The path is the daemon's: what stands there is replaced and removed.
    path: Spanned<String>,
    /// As `sts-shim --format` prints it: `union`, `aliyun`, `oss`, `aws`, `uri`, `env`, `dotenv`,
    /// `json`.
    format: Option<Spanned<String>>,
}

impl Reader<'_> {
    pub(super) fn file(&mut self, raw: &RawFile, table: &str) -> Option<ExportFile> {
        let (at, key) = (raw.path.span().start, format!("{table}.file.path"));
        let path = self.resolve(raw.path.get_ref());
        let path = std::path::absolute(&path).unwrap_or(path);
        self.files.push(FileRef {
            path: path.clone(),
            line: self.line(at),
            key: key.clone(),
        });
        if let Err(error) = atomic_file::check(&path) {
            self.error_at(at, &key, &error.to_string(), error.hint());
        }
        let format = match &raw.format {
            None => Some(Format::default()),
            Some(name) => Format::from_name(name.get_ref()).or_else(|| {
                let key = format!("{table}.file.format");
                let problem = format!("the formats are {}", Format::NAMES);
                let hint = "leave it out for union, which most programs can read";
                self.error_at(name.span().start, &key, &problem, hint);
                None
            }),
        };
        let format = format?;
        Some(ExportFile { path, format })
    }

    pub(super) fn command(
        &mut self,
        raw: &Spanned<Vec<Spanned<String>>>,
        key: &str,
        example: &'static str,
    ) -> Vec<String> {
        let words = raw.get_ref().iter().map(|it| it.get_ref().clone());
        let words: Vec<_> = words.collect();
        let mut hint = example;
        let problem = match words.first().map(Path::new) {
            None => Some("an empty list runs nothing".to_owned()),
            Some(it) if !it.is_absolute() => {
                Some("a program is named by its full path, and its arguments one by one".to_owned())
            }
            Some(_) if words.iter().any(|it| it.contains('\0')) => {
                Some("an argument cannot hold the character 0".to_owned())
            }
            Some(_) if is_writable_by_others(self.path) => {
                hint = "make it root's or the daemon's own, and chmod go-w it";
                Some("others may write to this file, and could run what they like".to_owned())
            }
            Some(it) => check_executable(it),
        };
        if let Some(problem) = problem {
            self.error_at(raw.span().start, key, &problem, hint);
        }
        words
    }

    /// A file that two write, or that we read, or that is our own, would be lost.
    pub(super) fn reject_duplicate_files(&mut self, environment: &ProcessEnvironment) {
        if self.files.is_empty() {
            return;
        }
        let mut taken: BTreeSet<_> = self.taken.iter().map(|it| canonical(it)).collect();
        let own: BTreeSet<_> = environment
            .runtime_files
            .iter()
            .map(|it| canonical(it))
            .collect();
        for FileRef { path, line, key } in self.files.clone() {
            if own.contains(&canonical(&path)) {
                let problem = format!(
                    "{} is the daemon's own: a socket, or the secret of the URLs",
                    path.display()
                );
                self.error_on_line(line, &key, &problem, "give the profile a file of its own");
            } else if !taken.insert(canonical(&path)) {
                let problem = format!("{} is used for something else as well", path.display());
                let hint = "give each profile a file of its own";
                self.error_on_line(line, &key, &problem, hint);
            }
        }
    }
}

/// Tells whether somebody else than root and the daemon's own user decides what is in a file.
fn is_writable_by_others(path: &Path) -> bool {
    let trusted = [0, geteuid().as_raw()];
    fs::metadata(path)
        .is_ok_and(|it| it.permissions().mode() & 0o022 != 0 || !trusted.contains(&it.uid()))
}

fn check_executable(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(_) if is_writable_by_others(path) => Some(format!(
            "{} is not root's or the daemon's own, or others may write to it",
            path.display()
        )),
        Ok(it) if it.is_file() && it.permissions().mode() & 0o111 != 0 => None,
        Ok(_) => Some(format!("{} is not a program", path.display())),
        Err(error) => Some(format!("{}: {error}", path.display())),
    }
}

/// One path for one file, whatever leads to its directory.
fn canonical(path: &Path) -> PathBuf {
    let real = atomic_file::split(path)
        .ok()
        .and_then(|(directory, name)| Some(fs::canonicalize(directory).ok()?.join(name)));
    real.unwrap_or_else(|| path.to_owned())
}
