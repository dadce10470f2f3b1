//! Decides how the audit's file is opened and written: lines are appended, and a file that
//! cannot be written costs lines and nothing else.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::{fcntl::OFlag, unistd::geteuid};
use serde::Serialize;
use tracing::warn;

/// A file of lines, one an event.
#[derive(Debug)]
pub struct AuditFile {
    path: PathBuf,
    file: File,
    /// Lines that could not be written since the last that could.
    lost: u64,
    /// The last line may stand there in part.
    torn: bool,
}

/// Why a file cannot hold the audit.
#[derive(Debug, thiserror::Error)]
pub enum AuditFileError {
    /// The system refused.
    #[error("{path} cannot be opened: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else stands there.
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// Others could read who asks for what, or change it.
    #[error("{path} belongs to uid {uid} and has mode {mode:04o}")]
    Loose {
        /// The file.
        path: PathBuf,
        /// Its owner.
        uid: u32,
        /// Its mode.
        mode: u32,
    },
}

impl AuditFileError {
    /// What a human can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Open { .. } => {
                "its directory must exist, and be writable for stsd in its sandbox too \
                 (LogsDirectory= or ReadWritePaths= of the unit)"
            }
            Self::NotAFile(_) => "name a file; nothing is written to pipes and devices",
            Self::Loose { .. } => {
                "make it the daemon's own, mode 0600; in logrotate: create 0600 USER GROUP"
            }
        }
    }
}

impl AuditFile {
    /// Opens a file for appending, mode 0600, and makes it if there is none.
    ///
    /// # Errors
    /// [`AuditFileError`], with its hint.
    pub fn open(path: &Path) -> Result<Self, AuditFileError> {
        let failed = |source| AuditFileError::Open {
            path: path.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        // No waiting for the reader of a FIFO, and no following of a link somebody planted.
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
        let file = options
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(flags.bits())
            .open(path)
            .map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(AuditFileError::NotAFile(path.to_owned()));
        }
        let (uid, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        if uid != geteuid().as_raw() || mode & 0o077 != 0 {
            let path = path.to_owned();
            return Err(AuditFileError::Loose { path, uid, mode });
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            lost: 0,
            torn: false,
        })
    }

    /// Returns where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line. A failure is said once, and how much was lost when it is over.
    pub(super) fn append(&mut self, line: &impl Serialize) {
        let mut bytes = Vec::with_capacity(512);
        if self.torn {
            bytes.push(b'\n');
        }
        let written = serde_json::to_writer(&mut bytes, line)
            .map_err(io::Error::from)
            .and_then(|()| {
                bytes.push(b'\n');
                self.write(&bytes)
            });
        let path = self.path.display();
        match written {
            Ok(()) if self.lost > 0 => {
                warn!(
                    "{path} is written again; {} audit lines were lost",
                    self.lost
                );
                self.lost = 0;
            }
            Ok(()) => {}
            Err(error) => {
                if self.lost == 0 {
                    warn!("audit lines are lost: {path} cannot be written: {error}");
                }
                self.lost += 1;
            }
        }
    }

    /// One write, so that a line is whole even if another process appends.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let count = self.file.write(bytes)?;
        self.torn = count < bytes.len() && (count > 0 || self.torn);
        if count < bytes.len() {
            return Err(io::Error::other("there was room for a part of a line only"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::{AuditFile, AuditFileError, Path};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn lines_are_appended_to_a_private_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        for line in ["one", "two"] {
            AuditFile::open(&path).unwrap().append(&line);
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "\"one\"\n\"two\"\n");
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn what_is_not_a_private_file_of_ours_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let refused = |path: &Path| AuditFile::open(path).unwrap_err();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            refused(&path),
            AuditFileError::Loose { mode: 0o640, .. }
        ));

        let link = directory.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(refused(&link), AuditFileError::Open { .. }));
        let fifo = directory.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        assert!(matches!(refused(&fifo), AuditFileError::Open { .. }));
        assert!(matches!(
            refused(Path::new("/dev/null")),
            AuditFileError::NotAFile(_)
        ));
        assert!(matches!(
            refused(&directory.path().join("none/audit.jsonl")),
            AuditFileError::Open { .. }
        ));
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_forgiven() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = AuditFile::open(&directory.path().join("audit.jsonl")).unwrap();
        let good = file.file;
        file.file = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        file.append(&"one");
        file.append(&"two");
        assert_eq!(file.lost, 2);
        file.file = good;
        file.append(&"three");
        assert_eq!((file.lost, file.torn), (0, false));
        let text = fs::read_to_string(&file.path).unwrap();
        assert_eq!(text, "\"three\"\n");
    }
}
