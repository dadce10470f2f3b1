//! Decides how a file that somebody named is read: a regular file, up to a size, and
//! without ever waiting for it. A FIFO in its place must not stop the daemon.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::fcntl::OFlag;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use zeroize::Zeroizing;

use crate::runtime::{clock::BootTime, sync::lock};

/// How long a file may take to be read.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a pause there is between two looks at a file: many may want to know.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is looked whether somebody else has ended reading it.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Opens a regular file of at most `max_bytes` bytes.
pub(crate) fn open(path: &Path, max_bytes: usize) -> io::Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.len() > max_bytes as u64 {
        return Err(io::Error::other(format!(
            "it is larger than {max_bytes} bytes"
        )));
    }
    Ok((file, metadata))
}

/// Reads an opened file as text; the memory is wiped, because it may be a key file.
pub(crate) fn read(file: File, max_bytes: usize) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(max_bytes.min(16 * 1024)));
    file.take(max_bytes as u64).read_to_string(&mut text)?;
    Ok(text)
}

/// A file that is read again and again, on threads of its own: a file system that hangs
/// must not stop the daemon, nor keep it from leaving.
#[derive(Debug)]
pub struct WatchedFile {
    path: PathBuf,
    shared: Arc<Shared>,
}

/// What the threads tell.
#[derive(Debug, Default)]
struct Shared {
    reading: AtomicBool,
    polling: AtomicBool,
    observed: Mutex<Observed>,
}

#[derive(Debug, Default)]
struct Observed {
    /// How often it was read.
    readings: u64,
    /// How the file looked when it was read last. None if it never was; the inner none is a
    /// file that is not there.
    at_read: Option<Option<FileStat>>,
    /// When a thread was sent to look.
    polled_at: BootTime,
    /// How it looked since it was read.
    latest: Option<Option<FileStat>>,
}

/// What changes when a file does: its place, its length and its times.
type FileStat = (u64, u64, u64, i64, i64);

impl WatchedFile {
    /// Prepares to read a file.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            shared: Arc::default(),
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
        reader: impl FnOnce(&Path) -> T + Send + 'static,
    ) -> io::Result<T> {
        let hangs = || io::Error::new(io::ErrorKind::TimedOut, "the file system does not answer");
        // Whoever began to read may have gone since, and its thread is about to end; or it hangs.
        let free = async {
            while self.shared.reading.swap(true, Ordering::AcqRel) {
                sleep(LOCK_POLL_INTERVAL).await;
            }
        };
        timeout(READ_TIMEOUT, free).await.map_err(|_| hangs())?;
        let (tell, told) = oneshot::channel();
        let (path, shared) = (self.path.clone(), Arc::clone(&self.shared));
        // From before the reading: a change during it is one that was not seen.
        let look = move || {
            let state = state(&path);
            let outcome = reader(&path);
            shared.observed().record_read(state);
            shared.reading.store(false, Ordering::Release);
            let _ = tell.send(outcome);
        };
        let started = thread::Builder::new().name("read".into()).spawn(look);
        if let Err(error) = started {
            self.shared.reading.store(false, Ordering::Release);
            return Err(error);
        }
        let answer = timeout(READ_TIMEOUT, told).await.map_err(|_| hangs())?;
        answer.map_err(io::Error::other)
    }

    /// Tells whether the file looks different from when it was read last, as a thread has seen
    /// it that the call before this one has sent out.
    pub(crate) fn changed(&self, now: BootTime) -> bool {
        // Who reads now has not seen anything yet; and one that hangs hangs for this look, too.
        let shared = &self.shared;
        if shared.reading.load(Ordering::Acquire) {
            return false;
        }
        let mut observed = shared.observed();
        let rested = now.since(observed.polled_at) >= POLL_INTERVAL;
        if rested && !shared.polling.swap(true, Ordering::AcqRel) {
            observed.polled_at = now;
            let (path, theirs) = (self.path.clone(), Arc::clone(shared));
            let readings = observed.readings;
            let look = move || {
                let state = state(&path);
                theirs.observed().record_poll(state, readings);
                theirs.polling.store(false, Ordering::Release);
            };
            let started = thread::Builder::new().name("look".into()).spawn(look);
            if started.is_err() {
                shared.polling.store(false, Ordering::Release);
            }
        }
        observed.changed()
    }
}

impl Shared {
    fn observed(&self) -> MutexGuard<'_, Observed> {
        lock(&self.observed)
    }
}

impl Observed {
    fn record_read(&mut self, state: Option<FileStat>) {
        self.readings += 1;
        self.at_read = Some(state);
        self.latest = None;
    }

    /// A look that began before the last reading says nothing of what came after it.
    fn record_poll(&mut self, state: Option<FileStat>, readings: u64) {
        if self.readings == readings {
            self.latest = Some(state);
        }
    }

    fn changed(&self) -> bool {
        self.at_read.is_some() && self.latest.is_some() && self.at_read != self.latest
    }
}

fn state(path: &Path) -> Option<FileStat> {
    let it = fs::metadata(path).ok()?;
    Some((it.dev(), it.ino(), it.len(), it.mtime(), it.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// The looks for a change that must be noticed: a thread looks aside, and that takes long on
    /// a busy machine.
    const CHANGE_LOOKS: u32 = 5000;

    /// The looks for a change that there is none of.
    const QUIET_LOOKS: u32 = 50;

    /// Looks so many times, at times that lie far enough apart.
    async fn noticed(watched_file: &WatchedFile, seconds: &mut u32, looks: u32) -> bool {
        for _ in 0..looks {
            *seconds += 1;
            if watched_file.changed(BootTime::from_duration(POLL_INTERVAL * *seconds)) {
                return true;
            }
            sleep(Duration::from_millis(2)).await;
        }
        false
    }

    #[tokio::test]
    async fn a_change_is_noticed_once_the_file_was_read_and_until_it_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let (watched_file, mut at) = (WatchedFile::new(path.clone()), 0);
        fs::write(&path, "one").unwrap();
        assert!(
            !noticed(&watched_file, &mut at, QUIET_LOOKS).await,
            "nobody knows what was there before"
        );
        let read = || watched_file.read(|path| fs::read_to_string(path).ok());
        assert_eq!(read().await.unwrap().unwrap(), "one");
        assert!(!noticed(&watched_file, &mut at, QUIET_LOOKS).await);
        fs::write(&path, "three").unwrap();
        assert!(noticed(&watched_file, &mut at, CHANGE_LOOKS).await);
        assert_eq!(read().await.unwrap().unwrap(), "three");
        assert!(!noticed(&watched_file, &mut at, QUIET_LOOKS).await);
        fs::remove_file(&path).unwrap();
        assert!(
            noticed(&watched_file, &mut at, CHANGE_LOOKS).await,
            "it is not there any more"
        );
        assert_eq!(read().await.unwrap(), None);
        assert!(!noticed(&watched_file, &mut at, QUIET_LOOKS).await);
        fs::write(&path, "three").unwrap();
        assert!(
            noticed(&watched_file, &mut at, CHANGE_LOOKS).await,
            "it is there again"
        );
    }

    #[tokio::test]
    async fn who_comes_after_one_that_has_gone_in_the_middle_waits_for_its_thread() {
        let watched_file = WatchedFile::new("/nonexistent".into());
        let (go, gate) = mpsc::channel::<()>();
        let slow = watched_file.read(move |_| gate.recv());
        let given_up = timeout(Duration::from_millis(10), slow).await;
        assert!(given_up.is_err());
        let opens = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            drop(go);
        });
        assert_eq!(watched_file.read(|_| 1).await.unwrap(), 1);
        opens.join().unwrap();
    }
}
