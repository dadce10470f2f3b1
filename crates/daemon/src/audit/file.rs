//! The file of the audit. Lines are appended; a failed write loses lines and has no other effect. A file
//! that was removed is created again at the next line.

use std::{
    borrow::Cow,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{fcntl::OFlag, unistd::geteuid};
use serde::Serialize;
use tracing::warn;

use super::lost_lines::{LostLine, LostLines};
use crate::runtime::{
    clock::BootTime,
    rate::Rate,
    trust,
    trust::{Loose, Purpose, TrustError},
};

/// What to do about a file that cannot be written.
const WRITE_HINT: &str = "free space on its file system, and let stsd write to its directory; \
                          restart stsd if the configuration did not name the directory at its start, \
                          or the directory is newer";

/// What to do about a file that has grown by its bound.
const GROWTH_HINT: &str = "its last lines name the callers; stsctl reload begins a new bound";

/// The growth of the file: 256 MiB, and 256 MiB a day. The rate of the events stays far below, see
/// `rate_limit.rs`; the bound holds for events of any length.
const GROWTH_RATE: Rate = Rate {
    interval: Duration::from_millis(DAY_MILLIS / (MAX_GROWTH_BYTES / GROWTH_UNIT_BYTES) as u64),
    burst: (MAX_GROWTH_BYTES / GROWTH_UNIT_BYTES) as u32,
};

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

const MAX_GROWTH_BYTES: usize = 256 * 1024 * 1024;

/// The bytes of one token of [`GROWTH_RATE`]; a line counts as at least one token.
const GROWTH_UNIT_BYTES: usize = 512;

/// The tokens after which a file that has reached the bound is written again: 1 MiB, in six minutes.
const RESUME_TOKENS: u32 = (1024 * 1024 / GROWTH_UNIT_BYTES) as u32;

/// A file with one line for each event.
#[derive(Debug)]
pub struct AuditFile {
    path: PathBuf,
    file: File,
    /// The time at which the file may grow by its whole burst again.
    full_at: BootTime,
    /// The file has reached the bound of its growth.
    is_full: bool,
    lost_lines: LostLines,
    /// The last line may be incomplete.
    has_partial_line: bool,
}

/// The reason for which a file cannot hold the audit.
#[derive(Debug, thiserror::Error)]
pub enum AuditFileError {
    /// `open` or `fstat` has failed.
    #[error("cannot open {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The path is no regular file.
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// Another user could replace the file.
    #[error("the directory of {path} {loose}")]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// The directory, or one above it, that another user can write to.
        loose: Box<Loose>,
    },
    /// Another user owns the file, or may read or write it.
    #[error("{path} belongs to uid {uid} and has mode {mode:04o}")]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// The owner of the file.
        uid: u32,
        /// The mode of the file.
        mode: u32,
    },
}

impl AuditFileError {
    /// Returns the hint: the correction by a person.
    #[must_use]
    pub fn hint(&self) -> Cow<'static, str> {
        let hint = match self {
            Self::Open { path, .. } if is_of_kernel(path) => {
                "\"-\" is the daemon's standard output"
            }
            Self::Open { .. } => {
                "its directory must exist, and be writable for stsd in its sandbox too \
                 (LogsDirectory= or ReadWritePaths= of the unit)"
            }
            Self::NotAFile(_) => {
                "name a file, or \"-\" for the daemon's standard output; stsd opens no pipes and devices"
            }
            Self::NotPrivate { .. } => {
                "make the daemon's user its owner, with mode 0600; in logrotate: \
                 create 0600 USER GROUP"
            }
            Self::Untrusted { loose, .. } => return loose.hint().into(),
        };
        hint.into()
    }
}

impl AuditFile {
    /// Opens a file for appending; creates a missing file with mode 0600.
    ///
    /// # Errors
    /// [`AuditFileError`], with its hint.
    pub fn open(path: &Path) -> Result<Self, AuditFileError> {
        let failed = |source| AuditFileError::Open {
            path: path.to_owned(),
            source,
        };
        Self::check_directory(path)?;
        let mut options = OpenOptions::new();
        // `open` must not wait for the reader of a FIFO, nor follow a planted link.
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
            return Err(AuditFileError::NotPrivate { path, uid, mode });
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            full_at: BootTime::default(),
            is_full: false,
            lost_lines: LostLines::default(),
            has_partial_line: false,
        })
    }

    /// Judges the directory of a file.
    ///
    /// # Errors
    /// [`AuditFileError`], with its hint.
    pub fn check_directory(path: &Path) -> Result<(), AuditFileError> {
        let directory = path.parent().unwrap_or(path);
        let path = path.to_owned();
        trust::check(directory, Purpose::LogDirectory).map_err(|error| match error {
            TrustError::Io(source) => AuditFileError::Open { path, source },
            TrustError::Loose(loose) => AuditFileError::Untrusted { path, loose },
        })
    }

    /// Returns the path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line. The first of several failures is logged, and after the last one the number
    /// of lost lines.
    ///
    /// # Errors
    /// [`LostLine`], as it is logged.
    pub(super) fn append(&mut self, line: &impl Serialize, now: BootTime) -> Result<(), LostLine> {
        let written = self.try_append(line, now);
        self.lost_lines.record(&written, &self.path.display());
        written
    }

    fn try_append(&mut self, line: &impl Serialize, now: BootTime) -> Result<(), LostLine> {
        let mut bytes = Vec::with_capacity(512);
        if self.has_partial_line {
            bytes.push(b'\n');
        }
        let ready = serde_json::to_writer(&mut bytes, line)
            .map_err(io::Error::from)
            .and_then(|()| self.create_if_removed());
        ready.map_err(|error| self.not_writable(&error))?;
        bytes.push(b'\n');
        self.take_growth(bytes.len(), now)?;
        self.write(&bytes)
            .map_err(|error| self.not_writable(&error))
    }

    fn not_writable(&self, error: &io::Error) -> LostLine {
        let path = self.path.display();
        LostLine {
            problem: format!("audit lines are lost: cannot write to {path}: {error}"),
            hint: WRITE_HINT,
        }
    }

    /// Creates the file again if it was removed: lines in a file without a name are lost. A file that was
    /// renamed keeps its lines until a reload.
    fn create_if_removed(&mut self) -> io::Result<()> {
        if self.file.metadata()?.nlink() > 0 {
            return Ok(());
        }
        let created = Self::open(&self.path).map_err(|error| match error {
            AuditFileError::Open { source, .. } => source,
            error => io::Error::other(error),
        })?;
        warn!(
            "the audit file {} was removed; created again",
            self.path.display()
        );
        (self.file, self.has_partial_line) = (created.file, false);
        Ok(())
    }

    /// Takes the right to append bytes. Beyond the bound, no line is written until many bytes are free:
    /// otherwise each second line would end the problem and begin another.
    fn take_growth(&mut self, bytes: usize, now: BootTime) -> Result<(), LostLine> {
        let wanted = if self.is_full { RESUME_TOKENS } else { 1 };
        self.is_full = !GROWTH_RATE.has_tokens(wanted, self.full_at, now);
        if self.is_full {
            let path = self.path.display();
            return Err(LostLine {
                problem: format!(
                    "audit lines are lost: {path} has grown by 256 MiB, and by 256 MiB a day since"
                ),
                hint: GROWTH_HINT,
            });
        }
        for _ in 0..bytes.div_ceil(GROWTH_UNIT_BYTES) {
            self.full_at = GROWTH_RATE.after_take(self.full_at, now);
        }
        Ok(())
    }

    /// Calls `write` once, so that a line is contiguous even if another process appends.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let count = self.file.write(bytes)?;
        self.has_partial_line = count < bytes.len() && (count > 0 || self.has_partial_line);
        if count < bytes.len() {
            let problem = format!("only {count} of {} bytes were written", bytes.len());
            return Err(io::Error::other(problem));
        }
        Ok(())
    }
}

/// Returns `true` for a path such as `/dev/stdout`, a link that `open` does not follow.
fn is_of_kernel(path: &Path) -> bool {
    path.starts_with("/dev") || path.starts_with("/proc")
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::{AuditFile, AuditFileError, BootTime, Duration, GROWTH_RATE, Path};

    const NOW: BootTime = BootTime::from_millis(1_000_000);

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn audit_file_is_private_and_lines_are_appended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        for line in ["one", "two"] {
            AuditFile::open(&path).unwrap().append(&line, NOW).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "\"one\"\n\"two\"\n");
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn audit_file_that_is_not_private_or_not_regular_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let refused = |path: &Path| AuditFile::open(path).unwrap_err();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            refused(&path),
            AuditFileError::NotPrivate { mode: 0o640, .. }
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
    fn audit_file_has_a_bound_of_its_growth() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = AuditFile::open(&directory.path().join("audit.jsonl")).unwrap();
        let line = "x".repeat(5000);
        for _ in 0..10 {
            file.take_growth(line.len(), NOW).unwrap();
        }
        let left = GROWTH_RATE.burst - 100;
        assert!(GROWTH_RATE.has_tokens(left, file.full_at, NOW));
        assert!(!GROWTH_RATE.has_tokens(left + 1, file.full_at, NOW));
        while file.take_growth(line.len(), NOW).is_ok() {}
        let lost = file.append(&line, NOW).unwrap_err();
        assert!(lost.problem.contains("has grown by 256 MiB"), "{lost:?}");
        let soon = NOW + Duration::from_secs(60);
        file.append(&"two", soon).unwrap_err();
        assert_eq!(file.lost_lines.count(), 2);
        let later = NOW + Duration::from_secs(600);
        file.append(&"three", later).unwrap();
        assert_eq!(file.lost_lines.count(), 0);
        assert_eq!(fs::read_to_string(&file.path).unwrap(), "\"three\"\n");
    }

    #[test]
    fn audit_file_counts_lost_lines_until_a_write_succeeds() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = AuditFile::open(&directory.path().join("audit.jsonl")).unwrap();
        let good = file.file;
        file.file = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        file.append(&"one", NOW).unwrap_err();
        file.append(&"two", NOW).unwrap_err();
        assert_eq!(file.lost_lines.count(), 2);
        file.file = good;
        file.append(&"three", NOW).unwrap();
        assert_eq!((file.lost_lines.count(), file.has_partial_line), (0, false));
        let text = fs::read_to_string(&file.path).unwrap();
        assert_eq!(text, "\"three\"\n");
    }

    #[test]
    fn audit_file_that_was_removed_is_created_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs/audit.jsonl");
        let logs = path.parent().unwrap();
        fs::create_dir(logs).unwrap();
        let mut file = AuditFile::open(&path).unwrap();
        file.append(&"one", NOW).unwrap();
        fs::remove_dir_all(logs).unwrap();
        let lost = file.append(&"two", NOW).unwrap_err();
        assert!(lost.problem.contains("cannot write to"), "{lost:?}");
        fs::create_dir(logs).unwrap();
        file.append(&"three", NOW).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "\"three\"\n");
        assert_eq!(mode(&path), 0o600);
    }
}
