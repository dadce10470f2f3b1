//! Decides how a file with credentials is written: private from its first byte, whole or not
//! at all, never through a link, and gone when what it holds is.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{MetadataExt, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::{fcntl::OFlag, unistd::geteuid};
use stsd_document::Unwritable;
use tokio::task::spawn_blocking;
use tracing::{debug, info, warn};

use crate::{
    profile::{ExportFile, ProfileName},
    runtime::clock::BootTime,
    session::snapshot::Session,
};

/// Why a file cannot hold credentials.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// What it concerns.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It has no name, or stands in something else.
    #[error("{0} is not a directory with a file in it")]
    NoDirectory(PathBuf),
    /// Others could put their own file there.
    #[error("the directory {path} belongs to uid {uid} and has mode {mode:04o}")]
    Loose {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        uid: u32,
        /// Its mode.
        mode: u32,
    },
    /// Something else stands there.
    #[error("{0} is there, and not a regular file")]
    NotAFile(PathBuf),
    /// The credentials do not fit into the format.
    #[error("the credentials hold {0}")]
    Unwritable(#[from] Unwritable),
}

impl FileError {
    /// What a human can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { source, .. } => match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    "its file system is full: make room"
                }
                ErrorKind::NotFound => "its directory must exist; stsd makes none",
                _ => {
                    "its directory must be writable for stsd, in its sandbox too \
                     (docs/systemd.md); a directory that is new since the start of stsd needs \
                     a restart"
                }
            },
            Self::NoDirectory(_) => "name a file in a directory that exists",
            Self::Loose { .. } => {
                "use a directory that is the daemon's own or root's, and that nobody else may \
                 write to: chmod go-w"
            }
            Self::NotAFile(_) => "name a file; nothing is written to directories and devices",
            Self::Unwritable(_) => "choose another format",
        }
    }

    fn at(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// Keeps one file in step with what it is told.
pub(super) struct CredentialsFile {
    document: Arc<ExportFile>,
    state: FileState,
    failures: u32,
}

/// What is in the file.
enum FileState {
    /// What somebody has left there, perhaps a process of ours that was killed.
    Unknown,
    Nothing,
    Session(Arc<Session>, FileId),
}

/// What tells a file from one that takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl CredentialsFile {
    pub(super) fn new(document: ExportFile) -> Self {
        Self {
            document: Arc::new(document),
            state: FileState::Unknown,
            failures: 0,
        }
    }

    /// Returns what is in the file.
    pub(super) fn current(&self) -> Option<&Arc<Session>> {
        match &self.state {
            FileState::Session(session, _) => Some(session),
            FileState::Unknown | FileState::Nothing => None,
        }
    }

    /// Has the file hold a session, or has there be no file. Returns how often that has
    /// failed in a row. What was there before stays while it lives, and no longer.
    pub(super) async fn sync(
        &mut self,
        session: Option<&Arc<Session>>,
        profile: &ProfileName,
        now: BootTime,
    ) -> u32 {
        let outcome = match session {
            Some(session) => self.write(session).await,
            None => self.clear().await,
        };
        let path = self.document.path.display();
        match outcome {
            Ok(()) if self.failures > 0 => {
                info!(%profile, "{path} is as it should be again");
                self.failures = 0;
            }
            Ok(()) => {}
            Err(error) => {
                if self.failures == 0 {
                    warn!(%profile, hint = error.hint(), "the file is not up to date: {error}");
                }
                self.failures = self.failures.saturating_add(1);
                let held = self.current();
                let lives = held.is_some_and(|it| it.lifetime.satisfies(Duration::ZERO, now));
                if !lives && let Err(error) = self.clear().await {
                    debug!(%profile, "the file cannot be removed: {error}");
                }
            }
        }
        self.failures
    }

    async fn write(&mut self, session: &Arc<Session>) -> Result<(), FileError> {
        let held = match &self.state {
            FileState::Session(held, identity) if Arc::ptr_eq(held, session) => Some(*identity),
            _ => None,
        };
        let (document, wanted) = (Arc::clone(&self.document), Arc::clone(session));
        let identity = blocking(move || {
            if let Some(identity) = held.filter(|it| *it == file_id(&document.path)) {
                return Ok(identity);
            }
            let text = wanted.document(document.format)?;
            replace(&document.path, text.as_bytes())
        })
        .await?;
        self.state = FileState::Session(Arc::clone(session), identity);
        Ok(())
    }

    async fn clear(&mut self) -> Result<(), FileError> {
        if matches!(self.state, FileState::Nothing) {
            return Ok(());
        }
        let document = Arc::clone(&self.document);
        let ours = match &self.state {
            FileState::Session(_, identity) => Some(*identity),
            _ => None,
        };
        blocking(move || match ours {
            // Somebody else has put theirs there.
            Some(ours) if ours != file_id(&document.path) => Ok(()),
            _ => remove(&document.path),
        })
        .await?;
        self.state = FileState::Nothing;
        Ok(())
    }
}

/// On a thread of its own: a slow disk must not keep callers waiting.
async fn blocking<T: Send + 'static>(
    task: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    let ended = spawn_blocking(task).await;
    ended.unwrap_or_else(|bug| Err(FileError::at(Path::new(""))(io::Error::other(bug))))
}

/// Looks whether a file with credentials may stand at a path.
///
/// # Errors
/// [`FileError`], with its hint.
pub fn check(path: &Path) -> Result<(), FileError> {
    let (directory, _) = parts(path)?;
    let metadata = fs::metadata(directory).map_err(FileError::at(directory))?;
    if !metadata.is_dir() {
        return Err(FileError::NoDirectory(directory.to_owned()));
    }
    let (uid, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if ![0, geteuid().as_raw()].contains(&uid) || mode & 0o022 != 0 {
        let path = directory.to_owned();
        return Err(FileError::Loose { path, uid, mode });
    }
    match fs::symlink_metadata(path) {
        Ok(it) if !it.is_file() && !it.is_symlink() => Err(FileError::NotAFile(path.to_owned())),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FileError::at(path)(error)),
    }
}

/// Tries whether we may write beside a path at all. A full disk is no reason against it.
///
/// # Errors
/// [`FileError`], with its hint.
pub fn check_writable(path: &Path) -> Result<(), FileError> {
    let trial = temp_path(path, "try")?;
    match put(&trial, b"") {
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

/// Puts a new file at a path at once; what stood there, a link too, goes.
fn replace(path: &Path, bytes: &[u8]) -> Result<FileId, FileError> {
    check(path)?;
    let new = temp_path(path, "new")?;
    let placed =
        put(&new, bytes).and_then(|()| fs::rename(&new, path).map_err(FileError::at(path)));
    if placed.is_err() {
        let _ = fs::remove_file(&new);
    }
    placed.map(|()| file_id(path))
}

/// Writes a file that is not there before. Nothing waits for the disk: after a power failure
/// the next start writes it anyway.
fn put(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    // One that was killed has left it, or somebody who is not to be followed.
    let _ = fs::remove_file(path);
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let options = options.custom_flags(OFlag::O_NOFOLLOW.bits());
    let file = options.open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .map_err(FileError::at(path))
}

fn remove(path: &Path) -> Result<(), FileError> {
    let _ = fs::remove_file(temp_path(path, "new")?);
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(FileError::at(path)(error)),
        _ => Ok(()),
    }
}

/// Names a file that stands beside another for a moment.
fn temp_path(path: &Path, purpose: &str) -> Result<PathBuf, FileError> {
    let (directory, name) = parts(path)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(purpose);
    Ok(directory.join(hidden))
}

/// Takes a path apart into a directory and a name.
pub(crate) fn parts(path: &Path) -> Result<(&Path, &std::ffi::OsStr), FileError> {
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    let parts = directory.zip(path.file_name());
    parts.ok_or_else(|| FileError::NoDirectory(path.to_owned()))
}

/// Of nothing if nothing is there.
fn file_id(path: &Path) -> FileId {
    let metadata = fs::symlink_metadata(path).ok();
    FileId {
        device: metadata.as_ref().map_or(0, MetadataExt::dev),
        inode: metadata.as_ref().map_or(0, MetadataExt::ino),
    }
}

#[cfg(test)]
mod tests;
