//! The state that all tables share while a configuration is read: the text, the errors, and the
//! files that the configuration names.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use stsd_codes::Code;
use stsd_document::Printable;

use super::{known_keys, spanned::Spanned, suggestion::shown};
use crate::{
    config::{ConfigError, ConfigErrors, FileRef},
    identity::ProcessEnvironment,
    profile::Invalid,
    runtime::{
        file_watch,
        path_state::PathState,
        trust,
        trust::{Purpose, TrustError},
    },
};

/// Maximum size of a configuration file. A larger file is some other file.
const MAX_FILE_BYTES: usize = 1024 * 1024;

/// Maximum number of errors. The time for one grows with the file.
pub(super) const MAX_ERRORS: usize = 100;

/// The state of a configuration that is being read.
pub(super) struct ReadContext<'a> {
    pub path: &'a Path,
    pub text: String,
    pub environment: &'a ProcessEnvironment,
    pub errors: Vec<ConfigError>,
    /// The byte offset of each line.
    line_starts: Vec<usize>,
    /// Likely mistakes that do not keep the daemon from working.
    pub warnings: Vec<ConfigError>,
    /// The tables, and their keys, that were not read whole: another key may only seem missing.
    pub damaged: Vec<String>,
    /// The name of the first source, for examples.
    pub first_source: Option<String>,
    /// The files that the daemon reads or writes besides the exports.
    pub used_files: Vec<PathBuf>,
    /// The files whose text is the configuration, with their states before they were read.
    pub read_files: Vec<PathState>,
    /// The files of the exports.
    pub export_files: Vec<FileRef>,
    /// The paths that programs may write to.
    pub writable: Vec<FileRef>,
    /// The address of the HTTP endpoint.
    pub http: Option<SocketAddr>,
    /// The problem of a variable that names the endpoint of STS, and its hint: an error if STS is called.
    pub endpoint_problem: Option<(String, &'static str)>,
}

impl<'a> ReadContext<'a> {
    pub(super) fn new(path: &'a Path, text: String, environment: &'a ProcessEnvironment) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = newlines.map(|(index, _)| index + 1).collect();
        Self {
            path,
            line_starts,
            text,
            environment,
            errors: Vec::new(),
            warnings: Vec::new(),
            damaged: Vec::new(),
            first_source: None,
            used_files: vec![path.to_owned()],
            read_files: Vec::new(),
            export_files: Vec::new(),
            writable: Vec::new(),
            http: None,
            endpoint_problem: None,
        }
    }

    /// Returns the value of a key; `None` if the value is invalid, which is an error of the key.
    pub(super) fn value<T>(
        &mut self,
        value: &Spanned<String>,
        table: &str,
        key: &str,
        check: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        let checked = check(value.get_ref());
        let key = format!("{table}.{key}");
        self.checked(checked, Some(value.get_ref()), value.span().start, &key)
    }

    /// Returns a valid value; an invalid one is an error of the key. The error shows the text, if it is
    /// given.
    pub(super) fn checked<T>(
        &mut self,
        checked: Result<T, Invalid>,
        text: Option<&str>,
        at: usize,
        key: &str,
    ) -> Option<T> {
        let invalid = match checked {
            Ok(value) => return Some(value),
            Err(invalid) => invalid,
        };
        let problem = match text {
            Some(text) => format!("{} is not valid: {invalid}", shown(text)),
            None => invalid.to_string(),
        };
        let name = key.rsplit('.').next().unwrap_or_default();
        let hint = match known_keys::example(name) {
            Some(example) => format!("for example {example}"),
            None => "correct it, or see man stsd-config".to_owned(),
        };
        self.error_at(Code::ConfigInvalidValue, at, key, &problem, &hint);
        None
    }

    /// Returns the path of a file that the daemon uses, relative to the configuration file.
    pub(super) fn use_file(&mut self, file: &str) -> PathBuf {
        let path = self.resolve(file);
        self.used_files.push(path.clone());
        path
    }

    /// Returns the path of a file whose text becomes a part of the configuration.
    pub(super) fn use_text_of(&mut self, file: &str) -> PathBuf {
        let path = self.use_file(file);
        self.read_files.push(PathState::of(path.clone()));
        path
    }

    /// Returns a path relative to the configuration file.
    pub(super) fn resolve(&self, file: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new(".")).join(file)
    }

    /// Returns the line of a byte offset, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        1 + self.line_starts.partition_point(|start| *start <= at)
    }

    /// Adds an error at a byte offset.
    pub(super) fn error_at(&mut self, code: Code, at: usize, key: &str, problem: &str, hint: &str) {
        self.add_error(code, Some(self.line(at)), key, problem, hint);
    }

    /// Adds an error that no line of the file causes.
    pub(super) fn error_of_file(&mut self, code: Code, problem: &str, hint: &str) {
        self.add_error(code, None, "", problem, hint);
    }

    /// Adds an error on a line.
    pub(super) fn error_on_line(
        &mut self,
        code: Code,
        line: usize,
        key: &str,
        problem: &str,
        hint: &str,
    ) {
        self.add_error(code, Some(line), key, problem, hint);
    }

    /// Adds a warning at a byte offset.
    pub(super) fn warn_at(&mut self, code: Code, at: usize, key: &str, problem: &str, hint: &str) {
        let warning = self.located(code, Some(self.line(at)), key, problem, hint);
        self.warnings.push(warning);
    }

    /// Adds a warning that no line of the file causes.
    pub(super) fn warn_of_file(&mut self, code: Code, problem: &str, hint: &str) {
        let warning = self.located(code, None, "", problem, hint);
        self.warnings.push(warning);
    }

    /// Returns the errors, and the warnings besides them. A change of any file that the configuration
    /// names may correct an error.
    pub(super) fn into_errors(mut self) -> ConfigErrors {
        for path in self.used_files {
            if self.read_files.iter().all(|it| it.path() != path) {
                self.read_files.push(PathState::of(path));
            }
        }
        ConfigErrors {
            errors: self.errors,
            warnings: self.warnings,
            read_files: self.read_files,
        }
    }

    /// Returns `true` after the maximum number of errors.
    pub(super) fn has_too_many_errors(&self) -> bool {
        self.errors.len() >= MAX_ERRORS
    }

    fn add_error(&mut self, code: Code, line: Option<usize>, key: &str, problem: &str, hint: &str) {
        match self.errors.len() {
            MAX_ERRORS => return,
            // The last one stands for all others.
            count if count + 1 == MAX_ERRORS => {
                let problem = format!("there are {MAX_ERRORS} mistakes at least");
                let hint = "correct these first; the check shows the others then";
                let last = self.located(Code::ConfigTooManyErrors, None, "", &problem, hint);
                self.errors.push(last);
                return;
            }
            _ => {}
        }
        let error = self.located(code, line, key, problem, hint);
        self.errors.push(error);
    }

    fn located(
        &self,
        code: Code,
        line: Option<usize>,
        key: &str,
        problem: &str,
        hint: &str,
    ) -> ConfigError {
        ConfigError {
            file: self.path.to_owned(),
            code,
            line,
            key: one_line(key),
            problem: one_line(problem),
            hint: one_line(hint),
        }
    }
}

/// Reads the configuration, or a file that the configuration names and that is no secret.
///
/// # Errors
/// [`TrustError`]; the text follows the path.
pub(super) fn read(path: &Path) -> Result<String, TrustError> {
    trust::check(path, Purpose::Decides)?;
    let (file, _) = file_watch::open(path, MAX_FILE_BYTES)?;
    Ok(file_watch::read(file, MAX_FILE_BYTES)?.to_string())
}

/// Escapes unprintable characters: a quoted name may hold any, and errors reach logs and terminals.
fn one_line(text: &str) -> String {
    Printable(text).to_string()
}
