//! The checks of a program that the daemon is configured to run. The rule of trust is asked once more
//! before each run.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use stsd_codes::Code;

use super::{context::ReadContext, spanned::Spanned};
use crate::runtime::{
    program::Program,
    trust,
    trust::{Purpose, TrustError},
};

/// Variables that differ for each run.
const PROVIDED_VARIABLES: [&str; 4] = [
    "TMPDIR",
    "STSD_PROFILE",
    "STSD_ERROR_CODE",
    "STSD_REMAINING_SECONDS",
];

/// A list of texts.
pub(super) type Words = Spanned<Vec<Spanned<String>>>;

/// The keys of a program, in one table.
pub(super) struct RawProgram<'a> {
    /// The table.
    pub table: &'a str,
    /// The key of the command.
    pub key: &'a str,
    /// The command.
    pub command: &'a Words,
    /// The hint of an invalid command.
    pub example: &'static str,
    /// `writable`.
    pub writable: Option<&'a Words>,
    /// `environment`.
    pub environment: Option<&'a Words>,
}

/// Returns a program. A program that must not be run, and a path or a variable that the program cannot
/// have, is an error of its key.
pub(super) fn program(context: &mut ReadContext<'_>, raw: &RawProgram<'_>) -> Program {
    let table = raw.table;
    let key = format!("{table}.{}", raw.key);
    Program {
        words: command(context, raw.command, &key, raw.example),
        writable: writable(context, raw.writable, table),
        environment: environment(context, raw.environment, table),
    }
}

/// Returns another program of a table, with the paths and variables of the first, whose errors are
/// reported once.
pub(super) fn program_beside(
    context: &mut ReadContext<'_>,
    raw: &RawProgram<'_>,
    first: &Program,
) -> Program {
    let key = format!("{}.{}", raw.table, raw.key);
    Program {
        words: command(context, raw.command, &key, raw.example),
        writable: first.writable.clone(),
        environment: first.environment.clone(),
    }
}

/// Rejects keys of a program in a table without one: the user relies on them.
pub(super) fn reject_without_program(
    context: &mut ReadContext<'_>,
    table: &str,
    command: &str,
    keys: [(&str, Option<&Words>); 2],
) {
    for (name, given) in keys {
        if let Some(given) = given {
            let problem = format!("it has no effect without {command}");
            let key = format!("{table}.{name}");
            context.error_at(
                Code::ConfigConflict,
                given.span().start,
                &key,
                &problem,
                "leave it out",
            );
        }
    }
}

/// Returns the paths that a program may write to.
fn writable(context: &mut ReadContext<'_>, raw: Option<&Words>, table: &str) -> Vec<PathBuf> {
    let key = format!("{table}.writable");
    let mut paths = Vec::new();
    for given in raw.iter().flat_map(|it| it.get_ref()) {
        let at = given.span().start;
        let path = context.resolve(given.get_ref(), at);
        let path = std::path::absolute(&path).unwrap_or(path);
        if context.is_portable() {
            paths.push(path);
            continue;
        }
        if let Err(error) = fs::metadata(&path) {
            let problem = format!("{}: {error}", path.display());
            let hint = "create it before the start of stsd; Landlock permits no path that is \
                        missing then";
            context.error_at(Code::ConfigProgram, at, &key, &problem, hint);
        } else if let Err(TrustError::Loose(loose)) = trust::check(&path, Purpose::WritablePath) {
            let problem = format!("{} {loose}", path.display());
            context.error_at(Code::UntrustedFile, at, &key, &problem, &loose.hint());
        }
        let named = context.file_ref(path.clone(), at, &key);
        context.writable.push(named);
        paths.push(path);
    }
    paths
}

/// Returns the names of the variables of a program. A variable that is not set is a warning, because
/// `stsd --check` may be run in another environment than the daemon.
fn environment(context: &mut ReadContext<'_>, raw: Option<&Words>, table: &str) -> Vec<String> {
    let key = format!("{table}.environment");
    let mut names = Vec::new();
    for given in raw.iter().flat_map(|it| it.get_ref()) {
        let (name, at) = (given.get_ref(), given.span().start);
        if !is_variable_name(name) {
            // The text may be a value, and a secret.
            let problem = "a variable is given by its name alone: A-Z a-z 0-9 _";
            let hint = "the value comes from the daemon's environment: Environment= of its unit";
            context.error_at(Code::ConfigProgram, at, &key, problem, hint);
        } else if PROVIDED_VARIABLES.contains(&name.as_str()) {
            let problem = format!("stsd sets {name} itself");
            context.error_at(Code::ConfigProgram, at, &key, &problem, "leave it out");
        } else if !context.is_portable() && (context.environment.variable)(name).is_none() {
            let problem = format!("{name} is not set in the environment of stsd");
            let hint = "set it for the daemon: Environment= of its unit";
            context.warn_at(Code::ConfigVariable, at, &key, &problem, hint);
        }
        names.push(name.clone());
    }
    names
}

fn is_variable_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty()
        && name.chars().all(is_plain)
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Returns the words of a command. A program that must not be run is an error of the key.
fn command(
    context: &mut ReadContext<'_>,
    raw: &Words,
    key: &str,
    example: &'static str,
) -> Vec<String> {
    let words = raw.get_ref().iter().map(|it| it.get_ref().clone());
    let words: Vec<_> = words.collect();
    let outcome = match words.first().map(Path::new) {
        None => Err("an empty list runs nothing".to_owned()),
        Some(it) if !it.is_absolute() => {
            Err("a program is named by its full path, and its arguments one by one".to_owned())
        }
        Some(_) if words.iter().any(|it| it.contains('\0')) => {
            Err("an argument cannot hold the character 0".to_owned())
        }
        Some(_) if context.is_portable() => Ok(()),
        Some(it) => match trust::check_program(it.as_os_str()) {
            Err(TrustError::Loose(loose)) => {
                let problem = format!("{} {loose}", it.display());
                context.error_at(
                    Code::UntrustedFile,
                    raw.span().start,
                    key,
                    &problem,
                    &loose.hint(),
                );
                Ok(())
            }
            Err(TrustError::Io(error)) => Err(format!("{}: {error}", it.display())),
            Ok(()) => check_executable(it),
        },
    };
    if let Err(problem) = outcome {
        context.error_at(
            Code::ConfigProgram,
            raw.span().start,
            key,
            &problem,
            example,
        );
    }
    words
}

/// Returns the problem of a path that is no program.
fn check_executable(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(it) if it.is_file() && it.permissions().mode() & 0o111 != 0 => Ok(()),
        Ok(_) => Err(format!("{} is not a program", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}
