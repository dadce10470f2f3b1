//! Files that are replaced atomically, in a directory that no other user can write to.

use std::{
    borrow::Cow,
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

use crate::runtime::{
    trust,
    trust::{Loose, Purpose, TrustError},
};

/// The reason why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A system call has failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or its directory.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// The path has no file name or no directory.
    #[error("{0} is not a directory with a file in it")]
    NoDirectory(PathBuf),
    /// Another user could replace the file.
    #[error("the directory {path} {loose}")]
    Loose {
        /// The directory of the file.
        path: PathBuf,
        /// The directory, or one above it, that another user can write to.
        loose: Box<Loose>,
    },
    /// The path leads to something else than a regular file.
    #[error("{0} exists and is not a regular file")]
    NotAFile(PathBuf),
}

/// The identity of a file, as stat(2) returns it. All numbers are 0 if there is no file. The time of the
/// last write is a part of it, because a file system uses the number of a removed inode again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
    written: (i64, i64),
}

impl FileError {
    /// Returns what to do about the error.
    #[must_use]
    pub fn hint(&self) -> Cow<'static, str> {
        let hint = match self {
            Self::Io { source, .. } => match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    "free space on its file system"
                }
                ErrorKind::NotFound => "create its directory; stsd creates none",
                _ => {
                    "make its directory writable for stsd, also in the unit (ReadWritePaths=); restart \
                     stsd if the configuration did not name the directory at its start, or the \
                     directory is newer"
                }
            },
            Self::NoDirectory(_) => "name a file in a directory that exists",
            Self::Loose { loose, .. } => {
                let hint = format!("use a private directory, or {}", loose.hint());
                return hint.into();
            }
            Self::NotAFile(_) => "name a file; stsd does not write to directories or devices",
        };
        hint.into()
    }

    fn at(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// Returns the error of a task that has panicked.
    pub(crate) fn panicked(
        path: &Path,
        bug: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::at(path)(io::Error::other(bug))
    }
}

impl FileId {
    /// Returns the identity of the file at a path.
    pub(crate) fn of(path: &Path) -> Self {
        let metadata = fs::symlink_metadata(path).ok();
        Self {
            device: metadata.as_ref().map_or(0, |it| it.dev()),
            inode: metadata.as_ref().map_or(0, |it| it.ino()),
            written: metadata.map_or((0, 0), |it| (it.mtime(), it.mtime_nsec())),
        }
    }
}

/// Checks that a private file may stand at a path.
///
/// # Errors
/// [`FileError`].
pub fn check(path: &Path) -> Result<(), FileError> {
    check_as(path, Purpose::WrittenDirectory)
}

/// Checks that a private file may stand at a path whose directory has another purpose besides.
///
/// # Errors
/// [`FileError`].
pub(crate) fn check_as(path: &Path, purpose: Purpose) -> Result<(), FileError> {
    let (directory, _) = split(path)?;
    let metadata = fs::metadata(directory).map_err(FileError::at(directory))?;
    if !metadata.is_dir() {
        return Err(FileError::NoDirectory(directory.to_owned()));
    }
    trust::check(directory, purpose).map_err(|error| match error {
        TrustError::Io(source) => FileError::at(directory)(source),
        TrustError::Loose(loose) => FileError::Loose {
            path: directory.to_owned(),
            loose,
        },
    })?;
    match fs::symlink_metadata(path) {
        Ok(it) if !it.is_file() && !it.is_symlink() => Err(FileError::NotAFile(path.to_owned())),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FileError::at(path)(error)),
    }
}

/// Checks that a file can be created in the directory of a path. A full file system is no error.
///
/// # Errors
/// [`FileError`].
pub fn check_writable(path: &Path) -> Result<(), FileError> {
    let trial = temp_path(path, "try")?;
    match create(&trial, b"") {
        Err(FileError::Io { source, .. })
            if matches!(
                source.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded
            ) => {}
        outcome => outcome?,
    }
    let _ = fs::remove_file(trial);
    Ok(())
}

/// Replaces the file at a path, or a symbolic link, by a new file with mode 0600.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<FileId, FileError> {
    replace_as(path, bytes, Purpose::WrittenDirectory)
}

/// Replaces a file as [`replace`] does, in a directory with another purpose besides.
pub(crate) fn replace_as(path: &Path, bytes: &[u8], purpose: Purpose) -> Result<FileId, FileError> {
    check_as(path, purpose)?;
    let new = temp_path(path, "new")?;
    let replaced =
        create(&new, bytes).and_then(|()| fs::rename(&new, path).map_err(FileError::at(path)));
    if replaced.is_err() {
        let _ = fs::remove_file(&new);
    }
    replaced.map(|()| FileId::of(path))
}

/// Removes the file at a path; a missing file is no error.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    let _ = fs::remove_file(temp_path(path, "new")?);
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(FileError::at(path)(error)),
        _ => Ok(()),
    }
}

/// Splits a path into its directory and its file name.
pub(crate) fn split(path: &Path) -> Result<(&Path, &OsStr), FileError> {
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    let parts = directory.zip(path.file_name());
    parts.ok_or_else(|| FileError::NoDirectory(path.to_owned()))
}

/// Creates a file. Without fsync: after a power failure the next start writes the file anyway.
fn create(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    // A killed process may have left the file; a symbolic link must not be followed.
    let _ = fs::remove_file(path);
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let options = options.custom_flags(OFlag::O_NOFOLLOW.bits());
    let file = options.open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .map_err(FileError::at(path))
}

/// Returns the path of a temporary file in the same directory.
fn temp_path(path: &Path, purpose: &str) -> Result<PathBuf, FileError> {
    let (directory, name) = split(path)?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(purpose);
    Ok(directory.join(hidden))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn file_in_a_directory_that_others_can_write_to_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let inside = |name: &str| directory.path().join(name);
        let refused = |path: &Path| check(path).unwrap_err();
        let mode = |mode| {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(directory.path(), permissions).unwrap();
        };
        for (bits, good) in [
            (0o700, true),
            (0o755, true),
            (0o757, false),
            (0o1777, false),
        ] {
            mode(bits);
            assert_eq!(check(&inside("x")).is_ok(), good, "{bits:o}");
        }
        mode(0o700);
        mkfifo(&inside("fifo"), Mode::S_IRUSR).unwrap();
        fs::create_dir(inside("directory")).unwrap();
        for name in ["fifo", "directory"] {
            assert!(matches!(refused(&inside(name)), FileError::NotAFile(_)));
        }
        assert!(matches!(refused(&inside("none/x")), FileError::Io { .. }));
        fs::write(inside("file"), "").unwrap();
        assert!(check(&inside("file/x")).is_err());
        assert!(matches!(refused(Path::new("/")), FileError::NoDirectory(_)));
        check_writable(&inside("x")).unwrap();
        assert!(!inside(".x.try").exists());
    }
}
