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
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a pause there is between two looks at a file: many may want to know.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// How often it is looked whether somebody else has ended reading it.
const LOOK: Duration = Duration::from_millis(5);

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

/// A file that is read again and again, on threads of its own: a file system that hangs
/// must not stop the daemon, nor keep it from leaving.
#[derive(Debug)]
pub struct Aside {
    path: PathBuf,
    shared: Arc<Shared>,
}

/// What the threads tell.
#[derive(Debug, Default)]
struct Shared {
    reading: AtomicBool,
    looking: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// How often it was read.
    readings: u64,
    /// How the file looked when it was read last. None if it never was; the inner none is a
    /// file that is not there.
    seen: Option<Option<State>>,
    /// When a thread was sent to look.
    looked_at: BootTime,
    /// How it looked since it was read.
    looked: Option<Option<State>>,
}

/// What changes when a file does: its place, its length and its times.
type State = (u64, u64, u64, i64, i64);

impl Aside {
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
        how: impl FnOnce(&Path) -> T + Send + 'static,
    ) -> io::Result<T> {
        let hangs = || io::Error::new(io::ErrorKind::TimedOut, "the file system does not answer");
        // Whoever began to read may have gone since, and its thread is about to end; or it hangs.
        let free = async {
            while self.shared.reading.swap(true, Ordering::AcqRel) {
                sleep(LOOK).await;
            }
        };
        timeout(PATIENCE, free).await.map_err(|_| hangs())?;
        let (tell, told) = oneshot::channel();
        let (path, shared) = (self.path.clone(), Arc::clone(&self.shared));
        // From before the reading: a change during it is one that was not seen.
        let look = move || {
            let state = state(&path);
            let outcome = how(&path);
            shared.known().saw(state);
            shared.reading.store(false, Ordering::Release);
            let _ = tell.send(outcome);
        };
        let started = thread::Builder::new().name("read".into()).spawn(look);
        if let Err(error) = started {
            self.shared.reading.store(false, Ordering::Release);
            return Err(error);
        }
        let answer = timeout(PATIENCE, told).await.map_err(|_| hangs())?;
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
        let mut known = shared.known();
        let rested = now.since(known.looked_at) >= BETWEEN_LOOKS;
        if rested && !shared.looking.swap(true, Ordering::AcqRel) {
            known.looked_at = now;
            let (path, theirs) = (self.path.clone(), Arc::clone(shared));
            let readings = known.readings;
            let look = move || {
                let state = state(&path);
                theirs.known().looked(state, readings);
                theirs.looking.store(false, Ordering::Release);
            };
            let started = thread::Builder::new().name("look".into()).spawn(look);
            if started.is_err() {
                shared.looking.store(false, Ordering::Release);
            }
        }
        known.changed()
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

impl Known {
    fn saw(&mut self, state: Option<State>) {
        self.readings += 1;
        self.seen = Some(state);
        self.looked = None;
    }

    /// A look that began before the last reading says nothing of what came after it.
    fn looked(&mut self, state: Option<State>, readings: u64) {
        if self.readings == readings {
            self.looked = Some(state);
        }
    }

    fn changed(&self) -> bool {
        self.seen.is_some() && self.looked.is_some() && self.seen != self.looked
    }
}

fn state(path: &Path) -> Option<State> {
    let it = fs::metadata(path).ok()?;
    Some((it.dev(), it.ino(), it.len(), it.mtime(), it.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// The looks for a change that must be noticed: a thread looks aside, and that takes long on
    /// a busy machine.
    const PLENTY: u32 = 5000;

    /// The looks for a change that there is none of.
    const SOME: u32 = 50;

    /// Looks so many times, at times that lie far enough apart.
    async fn noticed(aside: &Aside, seconds: &mut u32, looks: u32) -> bool {
        for _ in 0..looks {
            *seconds += 1;
            if aside.changed(BootTime::from_duration(BETWEEN_LOOKS * *seconds)) {
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
        let (aside, mut at) = (Aside::new(path.clone()), 0);
        fs::write(&path, "one").unwrap();
        assert!(
            !noticed(&aside, &mut at, SOME).await,
            "nobody knows what was there before"
        );
        let read = || aside.read(|path| fs::read_to_string(path).ok());
        assert_eq!(read().await.unwrap().unwrap(), "one");
        assert!(!noticed(&aside, &mut at, SOME).await);
        fs::write(&path, "three").unwrap();
        assert!(noticed(&aside, &mut at, PLENTY).await);
        assert_eq!(read().await.unwrap().unwrap(), "three");
        assert!(!noticed(&aside, &mut at, SOME).await);
        fs::remove_file(&path).unwrap();
        assert!(
            noticed(&aside, &mut at, PLENTY).await,
            "it is not there any more"
        );
        assert_eq!(read().await.unwrap(), None);
        assert!(!noticed(&aside, &mut at, SOME).await);
        fs::write(&path, "three").unwrap();
        assert!(noticed(&aside, &mut at, PLENTY).await, "it is there again");
    }

    #[tokio::test]
    async fn who_comes_after_one_that_has_gone_in_the_middle_waits_for_its_thread() {
        let aside = Aside::new("/nonexistent".into());
        let (go, gate) = mpsc::channel::<()>();
        let slow = aside.read(move |_| gate.recv());
        let given_up = timeout(Duration::from_millis(10), slow).await;
        assert!(given_up.is_err());
        let opens = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            drop(go);
        });
        assert_eq!(aside.read(|_| 1).await.unwrap(), 1);
        opens.join().unwrap();
    }
}
