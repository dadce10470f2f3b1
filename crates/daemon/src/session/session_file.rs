//! The file of the sessions between a stop and the next start, for a supervisor that keeps no descriptor.
//! The file is written only if the configuration asks for it, only on a tmpfs, and only while no daemon
//! runs: a start reads and removes it.

use std::{
    fs,
    fs::File,
    io::{self, Read as _, Seek as _},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::OFlag,
    sys::statfs::{TMPFS_MAGIC, fstatfs},
    unistd::geteuid,
};
use zeroize::Zeroizing;

use crate::runtime::{atomic_file, trust::Purpose};

/// The place of the sessions.
#[derive(Debug)]
pub struct SessionFile {
    path: PathBuf,
}

impl SessionFile {
    /// Returns the place at a path, in a directory that is writable for no other user.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the file may be written.
    ///
    /// # Errors
    /// The directory is not on a tmpfs, or another user can write to it.
    pub fn check(&self) -> io::Result<()> {
        // As the directory of the socket: an emptyDir above it is writable for all.
        atomic_file::check_as(&self.path, Purpose::SocketDirectory).map_err(io::Error::other)?;
        let directory = self.path.parent().unwrap_or(&self.path);
        check_tmpfs(&File::open(directory)?, directory)
    }

    /// Replaces the file by the content of a memfd.
    ///
    /// # Errors
    /// As [`check`](Self::check), and a failed write.
    pub fn write(&self, sessions: &OwnedFd) -> io::Result<()> {
        self.check()?;
        let mut memfd = File::from(sessions.try_clone()?);
        let length = usize::try_from(memfd.metadata()?.len()).map_err(io::Error::other)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        memfd.rewind()?;
        memfd.read_to_end(&mut bytes)?;
        let replaced = atomic_file::replace_as(&self.path, &bytes, Purpose::SocketDirectory);
        replaced.map_err(io::Error::other)?;
        Ok(())
    }

    /// Removes the file.
    pub fn remove(&self) {
        let _ = atomic_file::remove(&self.path);
    }

    /// Opens and removes the file; returns `None` without one.
    ///
    /// # Errors
    /// The file is not private, or not on a tmpfs.
    pub fn take(&self) -> io::Result<Option<File>> {
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let mut options = File::options();
        let opened = options.read(true).custom_flags(flags.bits());
        let opened = opened.open(&self.path);
        let _ = fs::remove_file(&self.path);
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let metadata = file.metadata()?;
        let is_private = metadata.is_file()
            && metadata.uid() == geteuid().as_raw()
            && metadata.mode() & 0o077 == 0;
        if !is_private {
            let path = self.path.display();
            return Err(io::Error::other(format!("{path} was not a private file")));
        }
        check_tmpfs(&file, &self.path)?;
        Ok(Some(file))
    }
}

/// Checks that a file is in memory: a disk would keep secrets after their removal.
fn check_tmpfs(file: &File, path: &Path) -> io::Result<()> {
    if fstatfs(file)?.filesystem_type() == TMPFS_MAGIC {
        return Ok(());
    }
    let problem = format!("{} is not on a tmpfs", path.display());
    Err(io::Error::other(problem))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

    use super::SessionFile;

    #[test]
    fn file_of_others_and_on_a_disk_is_removed_unread() {
        // Of glibc, a tmpfs on each Linux.
        let shared = Path::new("/dev/shm");
        let Ok(directory) = tempfile::tempdir_in(shared) else {
            return;
        };
        let place = SessionFile::at(directory.path().join("sessions"));
        assert!(place.take().unwrap().is_none());
        for (mode, is_read) in [(0o600, true), (0o640, false), (0o602, false)] {
            fs::write(place.path(), "x").unwrap();
            fs::set_permissions(place.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(place.take().is_ok(), is_read, "{mode:o}");
            assert!(!place.path().exists());
        }
        std::os::unix::fs::symlink("/dev/null", place.path()).unwrap();
        assert!(place.take().is_err());
        assert!(!place.path().is_symlink());

        let on_disk = SessionFile::at(Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions"));
        let refused = on_disk.check().unwrap_err().to_string();
        assert!(refused.ends_with("is not on a tmpfs"), "{refused}");
    }
}
