//! Decides whether we are where callers look for us: the socket still stands in its place,
//! and who connects is answered. The service manager's watchdog hears of nothing else.

use std::{
    convert::Infallible,
    fs, io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{net::UnixListener, sync::mpsc};
use tracing::{error, info, warn};

use crate::{
    platform::{
        sockets,
        sockets::{Door, LENT, ListenError, OWN, Place, Speaks},
        systemd::Manager,
    },
    runtime::clock::Clock,
    serve::socket,
};

/// How long we wait for our own answer, however much time the watchdog grants.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is looked after.
pub struct Presence {
    doors: Vec<Kept>,
    clock: Arc<dyn Clock>,
    /// Where a socket goes that had to be made again.
    listeners: mpsc::Sender<(Speaks, UnixListener)>,
}

/// A socket that callers come by, and a copy for a program that takes our place.
struct Kept {
    speaks: Speaks,
    path: PathBuf,
    copy: OwnedFd,
    /// What stood at its path when we began: who else stands there is not asked.
    stood: Option<(u64, u64)>,
    /// Where it stands, if we have made it ourselves.
    place: Option<Place>,
    /// Why it could not be made again, as it was said last: the same is not said at every look.
    said: Option<String>,
}

impl Presence {
    /// Begins to look after what was handed over; the sockets themselves go to `listeners`.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub async fn of(
        doors: Vec<Door>,
        clock: Arc<dyn Clock>,
        listeners: mpsc::Sender<(Speaks, UnixListener)>,
    ) -> io::Result<Self> {
        let mut kept = Vec::new();
        for door in doors {
            let (path, copy) = copy(&door.listener)?;
            kept.push(Kept {
                speaks: door.speaks,
                stood: identity(&path),
                path,
                copy,
                place: door.place,
                said: None,
            });
            let _ = listeners.send((door.speaks, door.listener)).await;
        }
        Ok(Self {
            doors: kept,
            clock,
            listeners,
        })
    }

    /// Gives up what was looked after, for a program that takes our place: each socket and
    /// the name it is inherited under.
    #[must_use]
    pub fn into_sockets(self) -> Vec<(OwnedFd, &'static str)> {
        let inherited = |door: Kept| {
            let name = if door.place.is_some() { OWN } else { LENT };
            // The socket goes on standing there.
            std::mem::forget(door.place);
            (door.copy, name)
        };
        self.doors.into_iter().map(inherited).collect()
    }

    /// Looks after our presence until it is dropped.
    pub async fn keep(&mut self) -> Infallible {
        let watchdog = Manager::watchdog();
        // Twice in the time the watchdog grants, as sd_watchdog_enabled(3) advises.
        let pause = watchdog.map_or(Duration::MAX, |limit| limit / 2);
        loop {
            self.clock.nap(pause).await;
            self.mend().await;
            if watchdog.is_some() && self.answers(pause.min(PATIENCE)).await {
                Manager::alive();
            }
        }
    }

    /// Makes each socket of ours again that somebody has taken away.
    async fn mend(&mut self) {
        for door in &mut self.doors {
            if let Some(listener) = door.mend() {
                let _ = self.listeners.send((door.speaks, listener)).await;
            }
        }
    }

    /// Asks ourselves where frames are spoken; HTTP is the same loop's work.
    async fn answers(&self, patience: Duration) -> bool {
        for door in self.doors.iter().filter(|it| it.speaks == Speaks::Frames) {
            // There is no way to ask by a lent socket without its path, and a restart would
            // bring none: that this loop runs has to be enough.
            if !door.stands() && door.place.is_none() {
                continue;
            }
            if let Err(problem) = socket::probe(&door.path, patience).await {
                info!(socket = %door.path.display(), "no answer from ourselves: {problem}");
                return false;
            }
        }
        true
    }
}

impl Kept {
    fn stands(&self) -> bool {
        self.stood.is_some() && identity(&self.path) == self.stood
    }

    fn mend(&mut self) -> Option<UnixListener> {
        if self.place.is_none() {
            self.look();
            return None;
        }
        let place = self.place.as_ref().filter(|it| !it.stands())?;
        match sockets::bind(place.path(), place.reach(), 1) {
            Ok((listener, place)) => {
                warn!(socket = %place.path().display(), "the socket was taken away; listening again");
                match copy(&listener) {
                    Ok((_, copy)) => self.copy = copy,
                    Err(problem) => warn!("the new socket cannot be copied: {problem}"),
                }
                self.place = Some(place);
                self.stood = identity(&self.path);
                self.said = None;
                return Some(listener);
            }
            Err(ListenError::Live(path)) => {
                error!(
                    "another daemon has taken {}; nobody finds this one",
                    path.display()
                );
                // Said once; the place is theirs.
                self.place = None;
                self.said = Some(String::new());
            }
            Err(problem) => {
                let problem = format!("{problem} (hint: {})", problem.hint());
                if self.said.as_ref() != Some(&problem) {
                    warn!("the socket was taken away: {problem}");
                    self.said = Some(problem);
                }
            }
        }
        None
    }
}

impl Kept {
    /// Says, once, that a socket that is not ours to make again does not stand any more.
    fn look(&mut self) {
        if self.stands() {
            self.said = None;
        } else if self.said.is_none() {
            error!(
                "the socket {} was taken away, and it is not ours to make again: nobody finds \
                 this daemon (hint: systemctl [--user] restart stsd.socket)",
                self.path.display()
            );
            self.said = Some(String::new());
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn copy(listener: &UnixListener) -> io::Result<(PathBuf, OwnedFd)> {
    let address = listener.local_addr()?;
    let path = address.as_pathname().unwrap_or(Path::new("")).to_owned();
    Ok((path, listener.as_fd().try_clone_to_owned()?))
}
