//! A watch of the files of the configuration, by their state: inotify(7) reports no change of the lower
//! layer of an overlay file system, nor of a network file system.

use std::{
    mem,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::Notify, task::spawn_blocking};

use crate::runtime::{clock::Clock, path_state::PathState, sync::lock};

/// Interval between two looks at unchanged files.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Time for which changed files have to stay the same: another program may be writing them.
const SETTLE_INTERVAL: Duration = Duration::from_secs(1);

/// The watch of several files and directories.
pub struct ChangeWatch {
    clock: Arc<dyn Clock>,
    watched: Mutex<Watched>,
    configured: Notify,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Watched {
    is_enabled: bool,
    /// The states at the last read of the files.
    at_read: Vec<PathState>,
    /// Other states, at the last look; `None` if they were those of the read.
    seen: Option<Vec<PathState>>,
}

/// The result of a look at the files.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// The files are as they were read.
    Unchanged,
    /// The files have changed since the last look.
    Changing,
    /// The files have changed since they were read, and not since the last look.
    Changed,
}

impl ChangeWatch {
    /// Returns a watch that is not enabled.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            watched: Mutex::default(),
            configured: Notify::new(),
            changed: Notify::new(),
        }
    }

    /// Sets the files, with their states before they were read. Each further change is reported once.
    pub fn set_read(&self, states: Vec<PathState>) {
        let mut watched = lock(&self.watched);
        watched.at_read = states;
        watched.seen = None;
    }

    /// Enables or disables the watch.
    pub fn enable(&self, is_enabled: bool) {
        lock(&self.watched).is_enabled = is_enabled;
        self.configured.notify_one();
    }

    /// Returns `true` if the watch is enabled.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        lock(&self.watched).is_enabled
    }

    /// Completes when the files have changed since they were read.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Looks at the files while the watch is enabled; never ends.
    pub async fn run(&self) {
        let mut pause = POLL_INTERVAL;
        loop {
            if !self.is_enabled() {
                self.configured.notified().await;
                continue;
            }
            self.sleep(pause).await;
            let paths = lock(&self.watched).paths();
            let states = || paths.into_iter().map(PathState::of).collect();
            // On a blocking thread: a file system that hangs must not stop the daemon.
            let Ok(states) = spawn_blocking(states).await else {
                continue;
            };
            pause = POLL_INTERVAL;
            let look = lock(&self.watched).look(states);
            match look {
                Look::Unchanged => {}
                Look::Changing => pause = SETTLE_INTERVAL,
                Look::Changed => self.changed.notify_one(),
            }
        }
    }

    async fn sleep(&self, pause: Duration) {
        let end = self.clock.boot() + pause;
        loop {
            let left = end.since(self.clock.boot());
            if left.is_zero() {
                return;
            }
            self.clock.sleep_at_most(left).await;
        }
    }
}

impl Watched {
    fn paths(&self) -> Vec<PathBuf> {
        let paths = self.at_read.iter();
        paths.map(|it| it.path().to_owned()).collect()
    }

    /// Compares the states of a look. A change is reported after two equal looks, and once.
    fn look(&mut self, states: Vec<PathState>) -> Look {
        // A reload during the look may have read other files.
        let is_same_list = states.len() == self.at_read.len()
            && states
                .iter()
                .zip(&self.at_read)
                .all(|(now, then)| now.path() == then.path());
        if !self.is_enabled || !is_same_list || states == self.at_read {
            self.seen = None;
            return Look::Unchanged;
        }
        if self.seen.as_ref() != Some(&states) {
            self.seen = Some(states);
            return Look::Changing;
        }
        self.at_read = mem::take(&mut self.seen).unwrap_or_default();
        Look::Changed
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
        path::Path,
    };

    use super::{Look, PathState, Watched};

    struct Volume {
        directory: tempfile::TempDir,
        watched: Watched,
    }

    impl Volume {
        /// Returns a volume of Kubernetes with one file, which was read.
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let mut volume = Self {
                directory,
                watched: Watched {
                    is_enabled: true,
                    ..Watched::default()
                },
            };
            volume.swap("..1");
            symlink("..data/config.toml", volume.path("config.toml")).unwrap();
            volume.watched.at_read = volume.states();
            volume
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.directory.path().join(name)
        }

        /// Replaces the content by a new directory, as the kubelet does.
        fn swap(&mut self, name: &str) {
            fs::create_dir(self.path(name)).unwrap();
            let write = |path: &Path| fs::write(path, "same text").unwrap();
            write(&self.path(name).join("config.toml"));
            symlink(name, self.path("..new")).unwrap();
            fs::rename(self.path("..new"), self.path("..data")).unwrap();
        }

        fn states(&self) -> Vec<PathState> {
            vec![
                PathState::of(self.path("config.toml")),
                PathState::of(self.path("config.d")),
            ]
        }

        fn look(&mut self) -> Look {
            let states = self.states();
            self.watched.look(states)
        }
    }

    #[test]
    fn swapped_volume_is_reported_once_after_two_equal_looks() {
        let mut volume = Volume::new();
        assert_eq!(volume.look(), Look::Unchanged);
        volume.swap("..2");
        assert_eq!(volume.look(), Look::Changing);
        volume.swap("..3");
        assert_eq!(volume.look(), Look::Changing, "it has changed again");
        assert_eq!(volume.look(), Look::Changed);
        assert_eq!(volume.look(), Look::Unchanged);
    }

    #[test]
    fn change_that_is_taken_back_is_not_reported() {
        let mut volume = Volume::new();
        fs::create_dir(volume.path("config.d")).unwrap();
        assert_eq!(volume.look(), Look::Changing);
        fs::remove_dir(volume.path("config.d")).unwrap();
        assert_eq!(volume.look(), Look::Unchanged);
        fs::create_dir(volume.path("config.d")).unwrap();
        assert_eq!(volume.look(), Look::Changing);
        assert_eq!(volume.look(), Look::Changed);
    }

    #[test]
    fn changed_mode_is_a_change() {
        let mut volume = Volume::new();
        let permissions = fs::Permissions::from_mode(0o640);
        fs::set_permissions(volume.path("config.toml"), permissions).unwrap();
        assert_eq!(volume.look(), Look::Changing);
        assert_eq!(volume.look(), Look::Changed);
    }

    #[test]
    fn look_that_a_reload_has_overtaken_is_discarded() {
        let mut volume = Volume::new();
        let mut before = volume.states();
        volume.swap("..2");
        before.pop();
        assert_eq!(volume.watched.look(before), Look::Unchanged);
        volume.watched.is_enabled = false;
        assert_eq!(volume.look(), Look::Unchanged);
    }
}
