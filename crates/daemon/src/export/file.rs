//! The file of an export: complete and with mode 0600 at each moment, never written through a
//! symbolic link, and removed when its session expires.

use std::{borrow::Cow, path::Path, sync::Arc, time::Duration};

use stsd_document::Unwritable;
use tokio::task::spawn_blocking;
use tracing::{debug, info, warn};

use crate::{
    profile::{ExportFile, FileContent, ProfileName},
    runtime::{
        atomic_file,
        atomic_file::{FileError, FileId},
        clock::BootTime,
    },
    session::snapshot::Session,
};

/// The reason why the file of an export is not up to date.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    /// The file cannot be written or removed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The format cannot represent the credentials.
    #[error("the credentials hold {0}")]
    Unwritable(#[from] Unwritable),
}

/// A file that holds the newest session of a profile.
pub(super) struct CredentialsFile {
    file: Arc<ExportFile>,
    state: FileState,
    failures: u32,
    /// Another process has replaced the file.
    is_contended: bool,
}

/// The content of the file.
enum FileState {
    /// Unknown: a killed daemon may have left a file.
    Unknown,
    /// There is no file.
    Absent,
    /// A session, and the identity of the file that was written with it. Another process may have
    /// replaced that file.
    Session(Arc<Session>, FileId),
}

/// The result of a write.
enum WriteOutcome {
    /// The file holds the session already.
    UpToDate,
    /// The session was written.
    Written(FileId),
    /// Another process has replaced the file since the session was written.
    Contended,
}

impl ExportError {
    /// Returns what to do about the error.
    fn hint(&self) -> Cow<'static, str> {
        match self {
            Self::File(error) => error.hint(),
            Self::Unwritable(_) => "choose another format".into(),
        }
    }
}

impl CredentialsFile {
    pub(super) fn new(file: ExportFile) -> Self {
        Self {
            file: Arc::new(file),
            state: FileState::Unknown,
            failures: 0,
            is_contended: false,
        }
    }

    /// Returns the session in the file.
    pub(super) fn current(&self) -> Option<&Arc<Session>> {
        match &self.state {
            FileState::Session(session, _) => Some(session),
            FileState::Unknown | FileState::Absent => None,
        }
    }

    /// Returns `true` if another process writes the file too.
    pub(super) fn is_contended(&self) -> bool {
        self.is_contended
    }

    /// Writes a session to the file, or removes the file for `None`. Returns the number of
    /// failures in a row. After a failure the previous session stays until its expiration.
    pub(super) async fn sync(
        &mut self,
        session: Option<&Arc<Session>>,
        profile: &ProfileName,
        now: BootTime,
    ) -> u32 {
        let outcome = match session {
            Some(session) => self.write(session, profile).await,
            None => self.remove().await,
        };
        let path = self.file.path.display();
        match outcome {
            Ok(()) => {
                // A file that was removed is not up to date.
                if self.failures > 0 && session.is_some() {
                    info!(%profile, "{path} is up to date again");
                }
                self.failures = 0;
            }
            Err(error) => {
                if self.failures == 0 {
                    warn!(%profile, hint = %error.hint(), "the file is not up to date: {error}");
                }
                self.failures = self.failures.saturating_add(1);
                self.remove_expired(profile, now).await;
            }
        }
        self.failures
    }

    /// Writes a session that is not in the file. A file of another daemon is replaced by a new session
    /// only: two daemons with one file would replace it all the time.
    async fn write(
        &mut self,
        session: &Arc<Session>,
        profile: &ProfileName,
    ) -> Result<(), ExportError> {
        let written = match &self.state {
            FileState::Session(held, id) if Arc::ptr_eq(held, session) => Some(*id),
            _ => None,
        };
        let (file, new) = (Arc::clone(&self.file), Arc::clone(session));
        let outcome = run_blocking(move || {
            match written {
                Some(id) if id == FileId::of(&file.path) => return Ok(WriteOutcome::UpToDate),
                Some(_) if is_regular(&file.path) => return Ok(WriteOutcome::Contended),
                _ => {}
            }
            let text = match &file.content {
                FileContent::Format(format) => new.document(*format)?,
                FileContent::Keys(keys) => new.document_with_keys(keys)?,
            };
            let written = atomic_file::replace(&file.path, text.as_bytes())?;
            Ok(WriteOutcome::Written(written))
        })
        .await?;
        let (was_contended, path) = (self.is_contended, self.file.path.display());
        self.is_contended = matches!(outcome, WriteOutcome::Contended);
        match (was_contended, self.is_contended) {
            (false, true) => warn!(%profile, "another process writes {path} too"),
            (true, false) => info!(%profile, "no other process has replaced {path} since"),
            _ => {}
        }
        if let WriteOutcome::Written(id) = outcome {
            self.state = FileState::Session(Arc::clone(session), id);
        }
        Ok(())
    }

    /// Removes the file unless its session is still valid.
    async fn remove_expired(&mut self, profile: &ProfileName, now: BootTime) {
        let held = self.current();
        if held.is_some_and(|it| it.lifetime.satisfies(Duration::ZERO, now)) {
            return;
        }
        if let Err(error) = self.remove().await {
            debug!(%profile, "the file cannot be removed: {error}");
        }
    }

    async fn remove(&mut self) -> Result<(), ExportError> {
        if matches!(self.state, FileState::Absent) {
            return Ok(());
        }
        let file = Arc::clone(&self.file);
        let written = match &self.state {
            FileState::Session(_, id) => Some(*id),
            _ => None,
        };
        run_blocking(move || match written {
            // Another program has replaced the file.
            Some(id) if id != FileId::of(&file.path) => Ok(()),
            _ => Ok(atomic_file::remove(&file.path)?),
        })
        .await?;
        self.state = FileState::Absent;
        Ok(())
    }
}

/// Returns `true` if a path leads to a file, and not to a symbolic link, which is replaced.
fn is_regular(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|it| it.is_file())
}

/// Runs a task on a blocking thread: a slow disk must not delay callers.
async fn run_blocking<T: Send + 'static>(
    task: impl FnOnce() -> Result<T, ExportError> + Send + 'static,
) -> Result<T, ExportError> {
    let outcome = spawn_blocking(task).await;
    outcome.unwrap_or_else(|bug| Err(FileError::panicked(Path::new(""), bug).into()))
}

#[cfg(test)]
mod tests;
