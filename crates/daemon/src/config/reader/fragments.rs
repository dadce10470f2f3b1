//! The files of a configuration: the configuration file, and the fragments in the directory beside it.

use std::{
    fs, io,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use stsd_codes::Code;
use stsd_model::{fragment_directory, is_fragment_name};

use super::{context, context::Scope, files::ConfigText};
use crate::{
    config::ConfigError,
    runtime::{
        path_state::PathState,
        trust,
        trust::{Purpose, TrustError},
    },
};

/// Maximum number of fragments. A directory with more is some other directory.
const MAX_FRAGMENTS: usize = 1000;

const MAIN_HINT: &str =
    "create it with stsctl init or as man stsd-config shows, or set STSD_CONFIG";
const DIRECTORY_HINT: &str = "let the daemon's user read the directory, or remove it";
const FRAGMENT_HINT: &str = "correct the file, or move it out of the directory";

/// Reads the configuration file, and then its fragments in the order of their names. The configuration
/// file may be missing if there are fragments. Returns the text, or one error for each file that cannot be
/// read; and the states of the files and of the directory before, so that a change during a read is
/// noticed.
pub(super) fn read(
    path: &Path,
    scope: Scope,
) -> (Result<ConfigText, Vec<ConfigError>>, Vec<PathState>) {
    let (mut text, mut errors) = (ConfigText::default(), Vec::new());
    let directory = fragment_directory(path);
    let watched = directory.into_iter().chain([path.to_owned()]);
    let mut states: Vec<_> = watched.map(PathState::of).collect();
    let fragments = fragments(path, scope).unwrap_or_else(|(file, error)| {
        errors.push(unreadable(&file, &error, DIRECTORY_HINT));
        Vec::new()
    });
    match read_file(path, scope) {
        Ok(main) => text.push(path.to_owned(), &main),
        Err(error) if is_missing(&error) && !fragments.is_empty() => {}
        Err(error) => errors.push(unreadable(path, &error, MAIN_HINT)),
    }
    states.extend(fragments.iter().cloned().map(PathState::of));
    for fragment in fragments {
        match read_file(&fragment, scope) {
            Ok(read) => text.push(fragment, &read),
            Err(error) => errors.push(unreadable(&fragment, &error, FRAGMENT_HINT)),
        }
    }
    let read = match errors.is_empty() {
        true => Ok(text),
        false => Err(errors),
    };
    (read, states)
}

/// Returns the fragments of a configuration file in the order of their names; none without the
/// directory.
///
/// # Errors
/// The directory is not trusted or cannot be read.
fn fragments(config: &Path, scope: Scope) -> Result<Vec<PathBuf>, (PathBuf, TrustError)> {
    let Some(directory) = fragment_directory(config) else {
        return Ok(Vec::new());
    };
    match list(&directory, scope) {
        Ok(fragments) => Ok(fragments),
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        Err(error) => Err((directory, error)),
    }
}

fn list(directory: &Path, scope: Scope) -> Result<Vec<PathBuf>, TrustError> {
    if scope == Scope::Host {
        trust::check(directory, Purpose::Decides)?;
    }
    let mut fragments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if is_fragment_name(&entry.file_name()) {
            fragments.push(entry.path());
        }
        if fragments.len() > MAX_FRAGMENTS {
            let problem = format!("it has more than {MAX_FRAGMENTS} files");
            return Err(io::Error::other(problem).into());
        }
    }
    fragments.sort();
    Ok(fragments)
}

fn read_file(path: &Path, scope: Scope) -> Result<String, TrustError> {
    match scope {
        Scope::Host => context::read(path),
        Scope::Portable => context::read_untrusted(path).map_err(TrustError::from),
    }
}

fn is_missing(error: &TrustError) -> bool {
    matches!(error, TrustError::Io(error) if error.kind() == ErrorKind::NotFound)
}

/// Returns the error of a file or a directory; `hint` is for one that cannot be read.
fn unreadable(file: &Path, error: &TrustError, hint: &str) -> ConfigError {
    let (code, problem, hint) = match error {
        TrustError::Io(error) => {
            let problem = format!("cannot be read: {error}");
            (Code::ConfigUnreadable, problem, hint.to_owned())
        }
        TrustError::Loose(loose) => (Code::UntrustedFile, loose.to_string(), loose.hint()),
    };
    context::file_error(file, code, &problem, &hint)
}
