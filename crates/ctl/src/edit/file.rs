//! A file that is replaced atomically: the configuration, or the file of another tool, of which
//! a backup is kept. Only the owner's files are edited.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::geteuid,
};
use zeroize::Zeroizing;

/// Larger than the configuration of any tool.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Suffix of a backup's name.
const BACKUP_SUFFIX: &str = ".stsd-backup";

/// Interval and number of attempts to lock, 10 s in all; a write holds the lock for milliseconds.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(20);
const MAX_LOCK_ATTEMPTS: u32 = 500;

/// A file and its original content, which may hold secrets.
pub(crate) struct EditableFile {
    /// The path as given; it may be a symbolic link.
    path: PathBuf,
    /// The path that is read and replaced.
    target: PathBuf,
    original: Option<Original>,
}

struct Original {
    bytes: Zeroizing<Vec<u8>>,
    mode: u32,
}

/// The result of a write.
pub(crate) enum WriteOutcome {
    Unchanged,
    Created,
    /// With where the content before the first change is.
    Replaced(PathBuf),
}

/// The permission bits of a file after a write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// As before; 0600 for a new file.
    Unchanged,
    /// None for the group and for others, because the file holds a secret.
    OwnerOnly,
}

/// A lock on a file's directory against other runs of stsctl, released when it is dropped.
pub(crate) struct Lock {
    directory: Option<File>,
    /// The directories created for the lock, the deepest first.
    created: Vec<PathBuf>,
}

impl Drop for Lock {
    /// Removes the directories created for the lock; `remove_dir` keeps non-empty ones.
    fn drop(&mut self) {
        let _ = self.created.iter().try_for_each(fs::remove_dir);
    }
}

/// Locks a file's directory, which is created if it is missing. On a file system without
/// `flock` there is no lock.
pub(crate) fn lock(path: &Path) -> Result<Lock> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = target.parent().unwrap_or(&target);
    let shown = directory.display();
    let missing = directory.ancestors().take_while(|it| !it.exists());
    let mut lock = Lock {
        directory: None,
        created: missing.map(Path::to_owned).collect(),
    };
    for _ in 0..MAX_LOCK_ATTEMPTS {
        let file = match File::open(create_parent(&target)?) {
            // Another run has removed the directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file.with_context(|| format!("{shown}"))?,
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK | Errno::INTR) => thread::sleep(LOCK_RETRY_INTERVAL),
            // The previous holder has removed the directory.
            _ if !is_same_inode(&file, directory)? => {}
            _ => {
                lock.directory = Some(file);
                return Ok(lock);
            }
        }
    }
    bail!("{shown} is locked by another program; try again")
}

/// Returns `true` if the path still refers to the opened file.
fn is_same_inode(file: &File, path: &Path) -> Result<bool> {
    let opened = file.metadata()?;
    let there = fs::metadata(path);
    Ok(there.is_ok_and(|it| (it.dev(), it.ino()) == (opened.dev(), opened.ino())))
}

/// Returns the directory of a file, created with mode 0700 if it is missing.
fn create_parent(file: &Path) -> Result<&Path> {
    let directory = file.parent().context("a file is in a directory")?;
    let created = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    created.with_context(|| format!("{} cannot be made", directory.display()))?;
    Ok(directory)
}

impl EditableFile {
    /// Opens and reads the file; the file may be missing.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let editable = |target, original| Self {
            path: path.to_owned(),
            target,
            original,
        };
        let link = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(editable(path.to_owned(), None));
            }
            Err(error) => return Err(error).with_context(|| format!("{shown}")),
            Ok(metadata) => metadata.is_symlink(),
        };
        let target = match link {
            // A symbolic link stays; its target is replaced.
            true => fs::canonicalize(path).with_context(|| format!("{shown} is a link"))?,
            false => path.to_owned(),
        };
        let original = read(&target).with_context(|| format!("{shown}"))?;
        Ok(editable(target, Some(original)))
    }

    /// Returns the original content as text; `None` for a missing file.
    pub(crate) fn text(&self) -> Result<Option<&str>> {
        let Some(original) = &self.original else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&original.bytes);
        let text = text.with_context(|| format!("{} is not text", self.path.display()))?;
        Ok(Some(text))
    }

    /// Replaces the content, after a backup of the original. The mode stays, unless
    /// [`Access::OwnerOnly`] restricts it.
    pub(crate) fn write_with_backup(&self, text: &str, access: Access) -> Result<WriteOutcome> {
        let mode = self.mode(access);
        let same = |it: &Original| *it.bytes == text.as_bytes() && it.mode == mode;
        if self.original.as_ref().is_some_and(same) {
            return Ok(WriteOutcome::Unchanged);
        }
        self.reject_read_only()?;
        let backup = match &self.original {
            Some(original) => Some(self.backup(original)?),
            None => None,
        };
        self.replace(text, mode)?;
        Ok(backup.map_or(WriteOutcome::Created, WriteOutcome::Replaced))
    }

    /// Replaces the content without a backup. The mode stays.
    pub(crate) fn write(&self, text: &str) -> Result<()> {
        self.reject_read_only()?;
        self.replace(text, self.mode(Access::Unchanged))
    }

    /// Returns `true` if the group or others can read the file.
    pub(crate) fn is_readable_by_others(&self) -> bool {
        self.original
            .as_ref()
            .is_some_and(|it| it.mode & 0o044 != 0)
    }

    fn mode(&self, access: Access) -> u32 {
        match &self.original {
            Some(original) if access == Access::OwnerOnly => original.mode & 0o600,
            Some(original) => original.mode,
            None => 0o600,
        }
    }

    fn replace(&self, text: &str, mode: u32) -> Result<()> {
        let shown = self.path.display();
        let directory = create_parent(&self.target)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)
            .with_context(|| format!("{shown} cannot be written"))?;
        file.write_all(text.as_bytes())?;
        file.as_file()
            .set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        self.check_unmodified()?;
        let persisted = file.persist(&self.target);
        persisted.with_context(|| format!("{shown} cannot be written"))?;
        Ok(())
    }

    /// Fails for a file without write permission, which a rename would replace all the same: such as
    /// a file that another program generates.
    fn reject_read_only(&self) -> Result<()> {
        let mode = self.original.as_ref().map_or(0o600, |it| it.mode);
        ensure!(
            mode & 0o200 != 0,
            "{} has mode {mode:04o}, so that it is not to be changed: change what it is made from, or \
             run chmod u+w on it",
            self.target.display()
        );
        Ok(())
    }

    /// Writes the backup unless one exists: it keeps the content before the first change.
    fn backup(&self, original: &Original) -> Result<PathBuf> {
        let mut name = self.path.clone().into_os_string();
        name.push(BACKUP_SUFFIX);
        let backup = PathBuf::from(name);
        let mut options = OpenOptions::new();
        let opened = options
            .write(true)
            .create_new(true)
            .mode(original.mode & 0o600)
            .open(&backup);
        let shown = backup.display();
        let mut file = match opened {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_file = fs::symlink_metadata(&backup)?.is_file();
                ensure!(
                    is_file,
                    "{shown} is no file; what there is would not be kept"
                );
                return Ok(backup);
            }
            opened => opened.with_context(|| format!("{shown} cannot be written"))?,
        };
        let written = file
            .write_all(&original.bytes)
            .and_then(|()| file.sync_all());
        if let Err(error) = written {
            let _ = fs::remove_file(&backup);
            return Err(error).with_context(|| format!("{shown} cannot be written"));
        }
        Ok(backup)
    }

    /// Fails if a tool has written its file meanwhile, so that its change is not lost.
    fn check_unmodified(&self) -> Result<()> {
        let now = match fs::symlink_metadata(&self.target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            _ => Some(read(&self.target)?.bytes),
        };
        let same = now.as_ref() == self.original.as_ref().map(|it| &it.bytes);
        ensure!(
            same,
            "{} was changed meanwhile; try again",
            self.path.display()
        );
        Ok(())
    }
}

fn read(path: &Path) -> Result<Original> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        bail!("this is no file, or too large a one");
    }
    ensure!(
        metadata.uid() == geteuid().as_raw(),
        "it belongs to another user"
    );
    let size = usize::try_from(metadata.len())?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    let mode = metadata.mode() & 0o7777;
    Ok(Original { bytes, mode })
}
