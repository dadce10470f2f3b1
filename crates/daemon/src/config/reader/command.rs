//! The checks of a program that the daemon is configured to run.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use nix::unistd::geteuid;

use super::{context::ReadContext, spanned::Spanned};

/// Returns the words of a command. A program that must not be run is an error of the key.
pub(super) fn command(
    context: &mut ReadContext<'_>,
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
        Some(_) if is_writable_by_others(context.path) => {
            hint = "make it root's or the daemon's own, and chmod go-w it";
            Some("others may write to this file, and could run any program".to_owned())
        }
        Some(it) => check_executable(it),
    };
    if let Some(problem) = problem {
        context.error_at(raw.span().start, key, &problem, hint);
    }
    words
}

/// Returns `true` if a user other than root and the daemon's own can change a file.
fn is_writable_by_others(path: &Path) -> bool {
    let trusted = [0, geteuid().as_raw()];
    fs::metadata(path)
        .is_ok_and(|it| it.permissions().mode() & 0o022 != 0 || !trusted.contains(&it.uid()))
}

/// Returns the problem of a program; `None` if the daemon can run the program.
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
