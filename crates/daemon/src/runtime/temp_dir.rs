//! Private temporary directories, one for each run of a program.

use std::{
    fs::{self, DirBuilder, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tracing::warn;

/// Maximum number of attempts to find a free name.
const MAX_NAME_ATTEMPTS: u32 = 100;

/// The beginning of each name.
const NAME_PREFIX: &str = "stsd-program-";

/// A directory with mode 0700 and a random name. It is removed with its content on drop, which
/// blocks.
#[derive(Debug)]
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    /// Creates a directory in the first of `parents` that allows one.
    ///
    /// # Errors
    /// The error of the last parent.
    pub(crate) fn create(parents: &[PathBuf]) -> io::Result<Self> {
        let mut refused = io::Error::other("no directory for temporary files");
        for parent in parents {
            match create_in(parent) {
                Ok(path) => return Ok(Self(path)),
                Err(error) => {
                    let problem = format!("a temporary directory in {}: {error}", parent.display());
                    refused = io::Error::new(error.kind(), problem);
                }
            }
        }
        Err(refused)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

/// Removes the temporary directories of a killed process. No other process may use `parent`.
pub fn remove_stale(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|it| it.starts_with(NAME_PREFIX));
        if is_ours && entry.file_type().is_ok_and(|it| it.is_dir()) {
            drop(TempDir(entry.path()));
        }
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.0).or_else(|_| {
            // A program may leave directories that their owner cannot change.
            allow_removal(&self.0)?;
            fs::remove_dir_all(&self.0)
        });
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let path = self.0.display();
                warn!("a temporary directory is left behind: {path}: {error}");
            }
            _ => {}
        }
    }
}

fn create_in(parent: &Path) -> io::Result<PathBuf> {
    let mut attempts = 0;
    loop {
        let path = parent.join(format!("{NAME_PREFIX}{:016x}", fastrand::u64(..)));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            Err(error) if attempts == MAX_NAME_ATTEMPTS => return Err(error),
            Err(_) => attempts += 1,
        }
    }
}

/// Makes all directories of a tree writable for their owner.
fn allow_removal(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            allow_removal(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temp_dir_is_private_and_removed_with_its_content() {
        let parent = tempfile::tempdir().unwrap();
        let parents = [PathBuf::from("/nonexistent"), parent.path().to_owned()];
        let temp = TempDir::create(&parents).unwrap();
        let path = temp.path().to_owned();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        fs::create_dir_all(path.join("a/b")).unwrap();
        fs::write(path.join("a/b/c"), "x").unwrap();
        fs::set_permissions(path.join("a"), Permissions::from_mode(0o500)).unwrap();
        fs::set_permissions(path.join("a/b"), Permissions::from_mode(0o000)).unwrap();
        drop(temp);
        assert!(!path.exists());
        fs::create_dir(parent.path().join("stsd-program-0")).unwrap();
        fs::create_dir(parent.path().join("other")).unwrap();
        remove_stale(parent.path());
        let left = fs::read_dir(parent.path()).unwrap().flatten();
        assert_eq!(left.map(|it| it.file_name()).collect::<Vec<_>>(), ["other"]);
        let error = TempDir::create(&parents[..1]).unwrap_err().to_string();
        assert!(error.contains("in /nonexistent: "), "{error}");
    }
}
