//! Follows a file of lines across rotation and truncation.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::fs::OFlags;

/// Number of bytes at the end of a file that are searched for past lines.
const MAX_TAIL_BYTES: u64 = 1024 * 1024;

/// Interval between reads.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// A file to which another process appends lines.
pub(super) struct TailedFile {
    path: PathBuf,
    file: File,
    /// The incomplete last line.
    rest: Vec<u8>,
}

impl TailedFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: open(path)?,
            rest: Vec::new(),
        })
    }

    /// Returns the lines at the end of the file.
    pub(super) fn last_lines(&mut self) -> io::Result<Vec<String>> {
        let length = self.file.metadata()?.len();
        let begin = length.saturating_sub(MAX_TAIL_BYTES);
        self.file.seek(SeekFrom::Start(begin))?;
        let mut lines = self.read_lines()?;
        if begin > 0 && !lines.is_empty() {
            // The first line may be incomplete.
            lines.remove(0);
        }
        Ok(lines)
    }

    /// Sleeps for one interval; returns the lines that were added.
    pub(super) fn wait_for_lines(&mut self) -> io::Result<Vec<String>> {
        thread::sleep(POLL_INTERVAL);
        let mut lines = self.read_lines()?;
        if lines.is_empty() {
            self.reopen_if_rotated()?;
            lines = self.read_lines()?;
        }
        Ok(lines)
    }

    /// Continues with the file that the path refers to now.
    fn reopen_if_rotated(&mut self) -> io::Result<()> {
        let Ok(now) = fs::metadata(&self.path) else {
            // Rotated, and the new file does not exist yet.
            return Ok(());
        };
        let ours = self.file.metadata()?;
        if (now.dev(), now.ino()) != (ours.dev(), ours.ino()) {
            self.file = open(&self.path)?;
            self.rest.clear();
        } else if now.len() < self.file.stream_position()? {
            self.file.rewind()?;
            self.rest.clear();
        }
        Ok(())
    }

    fn read_lines(&mut self) -> io::Result<Vec<String>> {
        (&self.file)
            .take(4 * MAX_TAIL_BYTES)
            .read_to_end(&mut self.rest)?;
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        let lines = String::from_utf8_lossy(&whole);
        Ok(lines.lines().map(str::to_owned).collect())
    }
}

/// Opens a regular file, without blocking on a FIFO.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = options.read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("this is no regular file"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        io::Write as _,
    };

    use super::TailedFile;

    #[test]
    fn tailed_file_survives_rotation_and_truncation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        fs::write(&path, "one\ntwo\nthr").unwrap();
        let mut followed = TailedFile::open(&path).unwrap();
        assert_eq!(followed.last_lines().unwrap(), ["one", "two"]);
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"ee\n").unwrap();
        assert_eq!(followed.wait_for_lines().unwrap(), ["three"]);
        assert_eq!(followed.wait_for_lines().unwrap(), [""; 0]);

        fs::rename(&path, directory.path().join("audit.jsonl.1")).unwrap();
        file.write_all(b"last\n").unwrap();
        assert_eq!(followed.wait_for_lines().unwrap(), ["last"]);
        assert_eq!(followed.wait_for_lines().unwrap(), [""; 0]);
        fs::write(&path, "anew and longer\n").unwrap();
        assert_eq!(followed.wait_for_lines().unwrap(), ["anew and longer"]);

        fs::write(&path, "short\n").unwrap();
        assert_eq!(followed.wait_for_lines().unwrap(), ["short"]);
    }

    #[test]
    fn directory_is_no_tailed_file() {
        let directory = tempfile::tempdir().unwrap();
        assert!(TailedFile::open(directory.path()).is_err());
    }
}
