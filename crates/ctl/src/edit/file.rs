//! Decides how a file of somebody's, or our configuration, is read and changed: whole or not
//! at all, by its owner alone; of a tool's, what stood there before is kept beside it.

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

/// No tool has a configuration that is longer.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What a file's name gets at its end where its content before is kept.
const BACKUP_SUFFIX: &str = ".stsd-backup";

/// How often a lock is tried, and for how long: nobody holds it longer than a write takes.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(20);
const MAX_LOCK_ATTEMPTS: u32 = 500;

/// A tool's file. What is in it may be secret, of others as well.
pub(crate) struct EditableFile {
    /// As the tool names it; it may be a link.
    path: PathBuf,
    /// What is read and replaced.
    target: PathBuf,
    original: Option<Original>,
}

struct Original {
    bytes: Zeroizing<Vec<u8>>,
    mode: u32,
}

/// What came of writing.
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

/// Keeps other runs of this program from a file, by its directory, until it is dropped.
pub(crate) struct Lock {
    directory: Option<File>,
    /// The directories that were made for it, the deepest first.
    created: Vec<PathBuf>,
}

impl Drop for Lock {
    /// What was made for nothing goes again; none goes that is not empty.
    fn drop(&mut self) {
        let _ = self.created.iter().try_for_each(fs::remove_dir);
    }
}

/// Locks a file's directory, which is made where there is none. A file system that locks no
/// directories goes without.
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
            // It was taken away again at once.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file.with_context(|| format!("{shown}"))?,
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK | Errno::INTR) => thread::sleep(LOCK_RETRY_INTERVAL),
            // Whoever had it before has taken it away again.
            _ if !is_same_inode(&file, directory)? => {}
            _ => {
                lock.directory = Some(file);
                return Ok(lock);
            }
        }
    }
    bail!("{shown} is locked by another program; try again")
}

/// Tells whether what was opened is what stands there now.
fn is_same_inode(file: &File, path: &Path) -> Result<bool> {
    let opened = file.metadata()?;
    let there = fs::metadata(path);
    Ok(there.is_ok_and(|it| (it.dev(), it.ino()) == (opened.dev(), opened.ino())))
}

/// Returns the directory of a file, which is made where there is none.
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
    /// Reads what is there; nothing may be there yet.
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
            // A link stays a link; what it points at is changed.
            true => fs::canonicalize(path).with_context(|| format!("{shown} is a link"))?,
            false => path.to_owned(),
        };
        let original = read(&target).with_context(|| format!("{shown}"))?;
        Ok(editable(target, Some(original)))
    }

    /// Returns what is there as text.
    pub(crate) fn text(&self) -> Result<Option<&str>> {
        let Some(original) = &self.original else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&original.bytes);
        let text = text.with_context(|| format!("{} is not text", self.path.display()))?;
        Ok(Some(text))
    }

    /// Puts a text in the place of what is there. It keeps its mode, unless nobody else may
    /// read what is new in it.
    pub(crate) fn write_with_backup(&self, text: &str, access: Access) -> Result<WriteOutcome> {
        let mode = self.mode(access);
        let same = |it: &Original| *it.bytes == text.as_bytes() && it.mode == mode;
        if self.original.as_ref().is_some_and(same) {
            return Ok(WriteOutcome::Unchanged);
        }
        let backup = match &self.original {
            Some(original) => Some(self.backup(original)?),
            None => None,
        };
        self.replace(text, mode)?;
        Ok(backup.map_or(WriteOutcome::Created, WriteOutcome::Replaced))
    }

    /// Puts a text in the place of what is there, which keeps its mode, and keeps nothing of
    /// what was there.
    pub(crate) fn write(&self, text: &str) -> Result<()> {
        self.replace(text, self.mode(Access::Unchanged))
    }

    /// Tells whether others than its owner may read what is there.
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

    /// Keeps what was there before, once: a second change must not take the first one's
    /// place.
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

    /// A tool may have written its file meanwhile; what it wrote is not lost.
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
