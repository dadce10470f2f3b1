//! The state that all tables share while a configuration is read: the texts, the errors, and the
//! files that the configuration names.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use stsd_codes::Code;
use stsd_document::Printable;

use super::{files::ConfigText, known_keys, spanned::Spanned, suggestion::shown, syntax};
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

/// The facts that a configuration is checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The users, groups, files, credentials and variables of this machine.
    Host,
    /// The keys and values of the configuration alone.
    Portable,
}

/// The state of a configuration that is being read.
pub(super) struct ReadContext<'a> {
    pub path: &'a Path,
    pub text: Arc<ConfigText>,
    pub environment: &'a ProcessEnvironment,
    scope: Scope,
    pub errors: Vec<ConfigError>,
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
    pub(super) fn new(
        path: &'a Path,
        text: ConfigText,
        environment: &'a ProcessEnvironment,
        scope: Scope,
    ) -> Self {
        let used_files = text.paths().map(Path::to_owned).collect();
        Self {
            path,
            text: Arc::new(text),
            environment,
            scope,
            errors: Vec::new(),
            warnings: Vec::new(),
            damaged: Vec::new(),
            first_source: None,
            used_files,
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

    /// Returns `true` if the users, files and variables of this machine are not looked at.
    pub(super) fn is_portable(&self) -> bool {
        self.scope == Scope::Portable
    }

    /// Returns the path of a file that the daemon uses, relative to the file that names it at a byte
    /// offset.
    pub(super) fn use_file(&mut self, file: &str, at: usize) -> PathBuf {
        let path = self.resolve(file, at);
        self.used_files.push(path.clone());
        path
    }

    /// Returns the path of a file whose text becomes a part of the configuration.
    pub(super) fn use_text_of(&mut self, file: &str, at: usize) -> PathBuf {
        let path = self.use_file(file, at);
        self.read_files.push(PathState::of(path.clone()));
        path
    }

    /// Returns a path relative to the file that names it at a byte offset.
    pub(super) fn resolve(&self, file: &str, at: usize) -> PathBuf {
        let directory = self.file_at(at).parent();
        directory.unwrap_or(Path::new(".")).join(file)
    }

    /// Returns the files of the configuration besides the configuration file.
    pub(super) fn fragments(&self) -> Vec<PathBuf> {
        let fragments = self.text.paths().filter(|it| *it != self.path);
        fragments.map(Path::to_owned).collect()
    }

    /// Returns the reference to a file that a key at a byte offset names.
    pub(super) fn file_ref(&self, path: PathBuf, at: usize, key: &str) -> FileRef {
        FileRef {
            path,
            file: self.file_at(at).to_owned(),
            line: self.text.line_at(at),
            key: key.to_owned(),
        }
    }

    /// Returns the file and the line, from 1, of a byte offset.
    pub(super) fn place(&self, at: usize) -> (PathBuf, usize) {
        (self.file_at(at).to_owned(), self.text.line_at(at))
    }

    /// Returns the key on the line of a byte offset, with its table; an empty text for a line without a
    /// key.
    pub(super) fn key_at(&self, at: usize) -> String {
        let (text, at) = self.text.text_at(at);
        syntax::key_at(text, at)
    }

    /// Adds an error at a byte offset.
    pub(super) fn error_at(&mut self, code: Code, at: usize, key: &str, problem: &str, hint: &str) {
        let (file, line) = self.place(at);
        self.add_error(located(&file, code, Some(line), key, problem, hint));
    }

    /// Adds an error that no line of a file causes.
    pub(super) fn error_of_file(&mut self, code: Code, problem: &str, hint: &str) {
        self.add_error(file_error(self.path, code, problem, hint));
    }

    /// Adds an error of the key that names a file.
    pub(super) fn error_of_named(
        &mut self,
        code: Code,
        named: &FileRef,
        problem: &str,
        hint: &str,
    ) {
        let FileRef {
            file, line, key, ..
        } = named;
        self.add_error(located(file, code, Some(*line), key, problem, hint));
    }

    /// Adds a warning at a byte offset.
    pub(super) fn warn_at(&mut self, code: Code, at: usize, key: &str, problem: &str, hint: &str) {
        let (file, line) = self.place(at);
        let warning = located(&file, code, Some(line), key, problem, hint);
        self.warnings.push(warning);
    }

    /// Adds a warning that no line of a file causes.
    pub(super) fn warn_of_file(&mut self, code: Code, problem: &str, hint: &str) {
        self.warnings
            .push(file_error(self.path, code, problem, hint));
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

    fn add_error(&mut self, error: ConfigError) {
        match self.errors.len() {
            MAX_ERRORS => {}
            // The last one stands for all others.
            count if count + 1 == MAX_ERRORS => {
                let problem = format!("there are {MAX_ERRORS} mistakes at least");
                let hint = "correct these first; the check shows the others then";
                let last = file_error(self.path, Code::ConfigTooManyErrors, &problem, hint);
                self.errors.push(last);
            }
            _ => self.errors.push(error),
        }
    }

    /// Returns the file at a byte offset.
    fn file_at(&self, at: usize) -> &Path {
        self.text.path_at(at).unwrap_or(self.path)
    }
}

/// Returns an error that no line of a file causes.
pub(super) fn file_error(file: &Path, code: Code, problem: &str, hint: &str) -> ConfigError {
    located(file, code, None, "", problem, hint)
}

fn located(
    file: &Path,
    code: Code,
    line: Option<usize>,
    key: &str,
    problem: &str,
    hint: &str,
) -> ConfigError {
    ConfigError {
        file: file.to_owned(),
        code,
        line,
        key: one_line(key),
        problem: one_line(problem),
        hint: one_line(hint),
    }
}

/// Reads the configuration, or a file that the configuration names and that is no secret.
///
/// # Errors
/// [`TrustError`]; the text follows the path.
pub(super) fn read(path: &Path) -> Result<String, TrustError> {
    trust::check(path, Purpose::Decides)?;
    Ok(read_untrusted(path)?)
}

/// Reads a file of a configuration that is only checked.
pub(super) fn read_untrusted(path: &Path) -> io::Result<String> {
    let (file, _) = file_watch::open(path, MAX_FILE_BYTES)?;
    Ok(file_watch::read(file, MAX_FILE_BYTES)?.to_string())
}

/// Escapes unprintable characters: a quoted name may hold any, and errors reach logs and terminals.
fn one_line(text: &str) -> String {
    Printable(text).to_string()
}
