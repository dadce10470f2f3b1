//! Decides how a file that somebody named is read: a regular file, up to a size, and
//! without ever waiting for it. A FIFO in its place must not stop the daemon.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::fcntl::OFlag;
use tokio::{sync::oneshot, time::timeout};
use zeroize::Zeroizing;

/// How long a file may take to be read.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens a regular file of at most `most` bytes.
pub(crate) fn open(path: &Path, most: usize) -> io::Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.len() > most as u64 {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok((file, metadata))
}

/// Reads an opened file as text; the memory is wiped, because it may be a key file.
pub(crate) fn read(file: File, most: usize) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(most.min(16 * 1024)));
    file.take(most as u64).read_to_string(&mut text)?;
    Ok(text)
}

/// A file that is read again and again, on a thread of its own: a file system that hangs
/// must not stop the daemon, nor keep it from leaving.
#[derive(Debug)]
pub struct Aside {
    path: PathBuf,
    /// Which state of it was read last.
    seen: Mutex<Option<State>>,
    reading: Arc<AtomicBool>,
}

/// What changes when a file does: its place, its length and its times.
type State = (u64, u64, u64, i64, i64);

impl Aside {
    /// Prepares to read a file.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            seen: Mutex::default(),
            reading: Arc::default(),
        }
    }

    /// Returns which file it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has a thread read the file, for a bounded time.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        how: impl FnOnce(&Path) -> T + Send + 'static,
    ) -> io::Result<T> {
        let hangs = || io::Error::new(io::ErrorKind::TimedOut, "the file system does not answer");
        if self.reading.swap(true, Ordering::AcqRel) {
            return Err(hangs());
        }
        let (tell, told) = oneshot::channel();
        let (path, reading) = (self.path.clone(), Arc::clone(&self.reading));
        // From before the reading: a change during it is one that was not seen.
        let look = move || {
            let state = state(&path);
            let outcome = how(&path);
            reading.store(false, Ordering::Release);
            let _ = tell.send((state, outcome));
        };
        let started = thread::Builder::new().name("read".into()).spawn(look);
        if let Err(error) = started {
            self.reading.store(false, Ordering::Release);
            return Err(error);
        }
        let answer = timeout(PATIENCE, told).await.map_err(|_| hangs())?;
        let (state, outcome) = answer.map_err(io::Error::other)?;
        *self.seen() = state;
        Ok(outcome)
    }

    /// Tells whether the file looks different from when it was read last.
    pub(crate) fn changed(&self) -> bool {
        // Who reads now has not seen anything yet; and one that hangs hangs for this look, too.
        !self.reading.load(Ordering::Acquire) && state(&self.path) != *self.seen()
    }

    fn seen(&self) -> MutexGuard<'_, Option<State>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn state(path: &Path) -> Option<State> {
    let it = fs::metadata(path).ok()?;
    Some((it.dev(), it.ino(), it.len(), it.mtime(), it.mtime_nsec()))
}
