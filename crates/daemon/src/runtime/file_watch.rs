//! Files that the configuration names: regular files up to a size, opened without blocking. A FIFO
//! at such a path must not stop the daemon.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
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

use crate::runtime::{clock::BootTime, path_state::FileState, sync::lock};

/// Timeout for the read of a file.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Minimum interval between two polls of a file, whose state many profiles may ask for.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Interval between checks whether the read of another task has ended.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Opens a regular file of at most `max_bytes` bytes.
///
/// # Errors
/// `open` has failed, or the file is not regular or too large.
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
        let problem = format!("it is larger than {max_bytes} bytes");
        return Err(io::Error::other(problem));
    }
    Ok((file, metadata))
}

/// Returns the text of an open file, in memory that is wiped: the file may hold a key.
pub(crate) fn read(file: File, max_bytes: usize) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(max_bytes.min(16 * 1024)));
    file.take(max_bytes as u64).read_to_string(&mut text)?;
    Ok(text)
}

/// A file that is read repeatedly, on threads of its own: a file system that hangs must neither
/// block the daemon nor delay its exit.
#[derive(Debug)]
pub struct WatchedFile {
    path: PathBuf,
    shared: Arc<Shared>,
}

/// The state that the threads share.
#[derive(Debug, Default)]
struct Shared {
    is_reading: AtomicBool,
    is_polling: AtomicBool,
    observed: Mutex<Observed>,
}

#[derive(Debug, Default)]
struct Observed {
    /// The number of reads.
    reads: u64,
    /// The state of the file at the last read; `None` before the first read.
    at_read: Option<FileState>,
    /// The time of the last poll.
    polled_at: BootTime,
    /// The state of the file at the last poll; `None` if there was none since the last read.
    at_poll: Option<FileState>,
}

impl WatchedFile {
    /// Returns the watch of a file; nothing is read yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            shared: Arc::default(),
        }
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Calls `reader` on a thread, and waits for its result for [`READ_TIMEOUT`].
    ///
    /// # Errors
    /// `TimedOut` if the file system does not answer; another error if no thread can be started.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        reader: impl FnOnce(&Path) -> T + Send + 'static,
    ) -> io::Result<T> {
        let hangs = || io::Error::new(io::ErrorKind::TimedOut, "the file system does not answer");
        // The task of an earlier read may have been dropped while its thread still reads.
        let acquire = async {
            while self.shared.is_reading.swap(true, Ordering::AcqRel) {
                sleep(LOCK_POLL_INTERVAL).await;
            }
        };
        timeout(READ_TIMEOUT, acquire).await.map_err(|_| hangs())?;
        let (sender, result) = oneshot::channel();
        let (path, shared) = (self.path.clone(), Arc::clone(&self.shared));
        // The state is taken before the read, so that a change during the read is reported.
        let read = move || {
            let state = FileState::of(&path);
            let outcome = reader(&path);
            shared.observed().record_read(state);
            shared.is_reading.store(false, Ordering::Release);
            let _ = sender.send(outcome);
        };
        let started = thread::Builder::new().name("read".into()).spawn(read);
        if let Err(error) = started {
            self.shared.is_reading.store(false, Ordering::Release);
            return Err(error);
        }
        let result = timeout(READ_TIMEOUT, result).await.map_err(|_| hangs())?;
        result.map_err(io::Error::other)
    }

    /// Returns `true` if the file had changed since the last read at the last poll, and starts
    /// the next poll on a thread.
    pub(crate) fn has_changed(&self, now: BootTime) -> bool {
        // A read in progress has no result yet; if the read hangs, a poll would hang as well.
        let shared = &self.shared;
        if shared.is_reading.load(Ordering::Acquire) {
            return false;
        }
        let mut observed = shared.observed();
        let is_due = now.since(observed.polled_at) >= POLL_INTERVAL;
        if is_due && !shared.is_polling.swap(true, Ordering::AcqRel) {
            observed.polled_at = now;
            let (path, thread_shared) = (self.path.clone(), Arc::clone(shared));
            let reads = observed.reads;
            let poll = move || {
                let state = FileState::of(&path);
                thread_shared.observed().record_poll(state, reads);
                thread_shared.is_polling.store(false, Ordering::Release);
            };
            let started = thread::Builder::new().name("poll".into()).spawn(poll);
            if started.is_err() {
                shared.is_polling.store(false, Ordering::Release);
            }
        }
        observed.has_changed()
    }
}

impl Shared {
    fn observed(&self) -> MutexGuard<'_, Observed> {
        lock(&self.observed)
    }
}

impl Observed {
    fn record_read(&mut self, state: FileState) {
        self.reads += 1;
        self.at_read = Some(state);
        self.at_poll = None;
    }

    /// Records a poll that began after `reads` reads. The poll is discarded if a read has ended
    /// since: the file may have changed between the poll and that read.
    fn record_poll(&mut self, state: FileState, reads: u64) {
        if self.reads == reads {
            self.at_poll = Some(state);
        }
    }

    fn has_changed(&self) -> bool {
        self.at_read.is_some() && self.at_poll.is_some() && self.at_read != self.at_poll
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc};

    use super::*;

    /// Maximum number of polls until a change is reported; the polling thread may be slow on a
    /// busy machine.
    const CHANGE_POLLS: u32 = 5000;

    /// Number of polls without a change.
    const UNCHANGED_POLLS: u32 = 50;

    /// Polls up to `polls` times, each one [`POLL_INTERVAL`] later; returns `true` at a change.
    async fn reports_change(watched_file: &WatchedFile, seconds: &mut u32, polls: u32) -> bool {
        for _ in 0..polls {
            *seconds += 1;
            if watched_file.has_changed(BootTime::from_duration(POLL_INTERVAL * *seconds)) {
                return true;
            }
            sleep(Duration::from_millis(2)).await;
        }
        false
    }

    #[tokio::test]
    async fn change_is_reported_from_one_read_until_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let (watched_file, mut at) = (WatchedFile::new(path.clone()), 0);
        fs::write(&path, "one").unwrap();
        assert!(
            !reports_change(&watched_file, &mut at, UNCHANGED_POLLS).await,
            "no read yet"
        );
        let read = || watched_file.read(|path| fs::read_to_string(path).ok());
        assert_eq!(read().await.unwrap().unwrap(), "one");
        assert!(!reports_change(&watched_file, &mut at, UNCHANGED_POLLS).await);
        fs::write(&path, "three").unwrap();
        assert!(reports_change(&watched_file, &mut at, CHANGE_POLLS).await);
        assert_eq!(read().await.unwrap().unwrap(), "three");
        assert!(!reports_change(&watched_file, &mut at, UNCHANGED_POLLS).await);
        fs::remove_file(&path).unwrap();
        assert!(
            reports_change(&watched_file, &mut at, CHANGE_POLLS).await,
            "file removed"
        );
        assert_eq!(read().await.unwrap(), None);
        assert!(!reports_change(&watched_file, &mut at, UNCHANGED_POLLS).await);
        fs::write(&path, "three").unwrap();
        assert!(
            reports_change(&watched_file, &mut at, CHANGE_POLLS).await,
            "file created again"
        );
    }

    #[tokio::test]
    async fn read_after_a_dropped_read_waits_for_its_thread() {
        let watched_file = WatchedFile::new("/nonexistent".into());
        let (sender, blocked) = mpsc::channel::<()>();
        let slow = watched_file.read(move |_| blocked.recv());
        let dropped = timeout(Duration::from_millis(10), slow).await;
        assert!(dropped.is_err());
        let unblock = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            drop(sender);
        });
        assert_eq!(watched_file.read(|_| 1).await.unwrap(), 1);
        unblock.join().unwrap();
    }
}
