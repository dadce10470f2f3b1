//! The file that keeps the master secret of the URLs for the next process.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
use stsd_secret::SecretText;
use tracing::warn;

use super::url_secrets::{SECRET_CHARS, is_well_formed};
use crate::runtime::{
    atomic_file, trust,
    trust::{Purpose, TrustError},
};

/// The places of the file, the preferred one first.
#[derive(Debug, Default)]
pub struct MasterFile {
    /// In a directory that outlives a reboot.
    pub state: Option<PathBuf>,
    /// Beside a socket of this daemon.
    pub runtime: Option<PathBuf>,
}

/// Why the master secret does not outlive a reboot.
#[derive(Debug, Clone)]
pub(super) struct NotKept {
    /// The error of the preferred place.
    pub(super) problem: String,
    /// That place holds an old secret, which the next start restores.
    pub(super) leaves_old: bool,
}

impl MasterFile {
    fn places(&self) -> impl Iterator<Item = &PathBuf> {
        self.state.iter().chain(&self.runtime)
    }

    /// Returns the master secret in the first place that has one.
    pub(super) fn read(&self) -> Option<SecretText> {
        self.places().find_map(|it| read(it))
    }

    /// Writes the master secret to the preferred place, or else to the next one. An old secret in
    /// another place is removed, so that a later start does not restore it.
    ///
    /// # Errors
    /// [`NotKept`], if the state directory does not hold the secret.
    pub(super) fn save(&self, text: &SecretText) -> Result<(), NotKept> {
        let mut not_kept = self.state.is_none().then(|| NotKept {
            problem: "there is no state directory".to_owned(),
            leaves_old: false,
        });
        let mut is_saved = false;
        for place in self.places() {
            let problem = if is_saved {
                None
            } else {
                write(place, text).err()
            };
            let holds_new = !is_saved && problem.is_none();
            is_saved |= holds_new;
            let leaves_old = !holds_new && !is_removed(place);
            if let Some(problem) = problem {
                not_kept.get_or_insert(NotKept {
                    problem,
                    leaves_old,
                });
            }
        }
        not_kept.map_or(Ok(()), Err)
    }
}

fn is_removed(place: &Path) -> bool {
    let removed = fs::remove_file(place);
    removed.is_ok() || load(place).is_err()
}

/// Replaces the file. The file has no newline.
fn write(path: &Path, text: &SecretText) -> Result<(), String> {
    if load(path).is_ok_and(|saved| saved == *text) {
        return Ok(());
    }
    match atomic_file::replace(path, text.expose().as_bytes()) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns the master secret in a file; `None` if the file is missing or cannot be used.
fn read(path: &Path) -> Option<SecretText> {
    match load(path) {
        Ok(text) => Some(text),
        Err(None) => None,
        Err(Some(problem)) => {
            let shown = path.display();
            warn!("the master secret of the URLs is created anew: {shown} {problem}");
            None
        }
    }
}

/// Loads the master secret from a file that no other user can read or replace.
///
/// # Errors
/// The reason for which the file cannot be used; `None` for a missing file.
fn load(path: &Path) -> Result<SecretText, Option<String>> {
    trust::check(path, Purpose::Secret).map_err(|error| match error {
        TrustError::Io(error) if error.kind() == ErrorKind::NotFound => None,
        TrustError::Io(error) => Some(format!("cannot be read: {error}")),
        TrustError::Loose(loose) => Some(format!("{loose} (hint: {})", loose.hint())),
    })?;
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path);
    let file = opened.map_err(|error| match error.kind() {
        ErrorKind::NotFound => None,
        _ => Some(format!("cannot be read: {error}")),
    })?;
    let metadata = file.metadata().map_err(|error| Some(error.to_string()))?;
    if !metadata.is_file() {
        return Err(Some("is not a regular file".to_owned()));
    }
    let mut text = String::with_capacity(SECRET_CHARS + 1);
    let read = file
        .take(SECRET_CHARS as u64 + 1)
        .read_to_string(&mut text)
        .is_ok();
    let text = SecretText::from(text);
    if read && is_well_formed(&text) {
        Ok(text)
    } else {
        Err(Some(format!("does not hold {SECRET_CHARS} hex digits")))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use stsd_secret::SecretText;

    use super::{MasterFile, SECRET_CHARS};

    fn secret(digit: &str) -> SecretText {
        SecretText::from(digit.repeat(SECRET_CHARS))
    }

    #[test]
    fn secret_is_restored_only_from_a_private_regular_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http.secret");
        let file = MasterFile {
            state: Some(path.clone()),
            runtime: None,
        };
        assert!(file.read().is_none());
        file.save(&secret("a")).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(file.read(), Some(secret("a")));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(file.read().is_none());
        let malformed = ["x".repeat(SECRET_CHARS), "0".repeat(SECRET_CHARS + 1)];
        for wrong in ["", "short", &malformed[0], &malformed[1]] {
            fs::write(&path, wrong).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(file.read().is_none(), "{wrong}");
        }
        let elsewhere = directory.path().join("elsewhere");
        file.save(&secret("b")).unwrap();
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(file.read().is_none());
    }

    #[test]
    fn secret_is_in_one_place_and_the_problem_of_the_preferred_one_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let places = ["state", "run"].map(|it| directory.path().join(it));
        let paths = places.clone().map(|it| it.join("http.secret"));
        let [state, runtime] = paths.clone().map(Some);
        let file = MasterFile { state, runtime };
        fs::create_dir(&places[1]).unwrap();
        let not_kept = file.save(&secret("a")).unwrap_err();
        assert!(not_kept.problem.contains("state") && !not_kept.leaves_old);
        assert_eq!(file.read(), Some(secret("a")));
        fs::create_dir(&places[0]).unwrap();
        file.save(&secret("b")).unwrap();
        assert!(paths[0].exists() && !paths[1].exists());
        assert_eq!(file.read(), Some(secret("b")));
        let none = MasterFile::default();
        let not_kept = none.save(&secret("a")).unwrap_err();
        assert!(not_kept.problem.contains("no state"));
    }
}
