//! Decides whether we are where callers look for us: the socket still stands in its place,
//! and who connects is answered. The service manager's watchdog hears of nothing else.

use std::{
    convert::Infallible,
    fs,
    future::Future,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use tokio::{net::UnixListener, sync::mpsc};
use tracing::{error, info, warn};

use crate::{
    platform::{
        sockets,
        sockets::{BoundPath, FDNAME_ACTIVATED, FDNAME_OWNED, ListenError, ListeningSocket},
        systemd::NotifySocket,
    },
    runtime::{clock::Clock, listener::Protocol},
};

/// How long we wait for our own answer, however much time the watchdog grants.
const SELF_CHECK_TIMEOUT: Duration = Duration::from_secs(20);

/// Sends a request to a socket of the daemon and waits for the reply, for a limited time.
pub type SelfCheck = for<'a> fn(&'a Path, Duration) -> SelfCheckFuture<'a>;

/// The result of a [`SelfCheck`].
pub type SelfCheckFuture<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;

/// What is looked after.
pub struct SocketWatch {
    sockets: Vec<WatchedSocket>,
    clock: Arc<dyn Clock>,
    self_check: SelfCheck,
    /// Where a socket goes that had to be made again.
    listeners: mpsc::Sender<(Protocol, UnixListener)>,
}

/// A socket that callers come by, and a copy for a program that takes our place.
struct WatchedSocket {
    protocol: Protocol,
    path: PathBuf,
    copy: OwnedFd,
    /// What stood at its path when we began: who else stands there is not asked.
    expected_inode: Option<(u64, u64)>,
    /// Where it stands, if we have made it ourselves.
    bound: Option<BoundPath>,
    /// Why it could not be made again, as it was said last: the same is not said at every look.
    last_logged: Option<String>,
}

impl SocketWatch {
    /// Begins to look after what was handed over; the sockets themselves go to `listeners`.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub async fn of(
        sockets: Vec<ListeningSocket>,
        clock: Arc<dyn Clock>,
        listeners: mpsc::Sender<(Protocol, UnixListener)>,
        self_check: SelfCheck,
    ) -> io::Result<Self> {
        let mut kept = Vec::new();
        for socket in sockets {
            let (path, copy) = copy(&socket.listener)?;
            kept.push(WatchedSocket {
                protocol: socket.protocol,
                expected_inode: identity(&path),
                path,
                copy,
                bound: socket.bound,
                last_logged: None,
            });
            let _ = listeners.send((socket.protocol, socket.listener)).await;
        }
        Ok(Self {
            sockets: kept,
            clock,
            self_check,
            listeners,
        })
    }

    /// Gives up what was looked after, for a program that takes our place: each socket and
    /// the name it is inherited under.
    #[must_use]
    pub fn into_sockets(self) -> Vec<(OwnedFd, &'static str)> {
        let inherited = |socket: WatchedSocket| {
            let name = if socket.bound.is_some() {
                FDNAME_OWNED
            } else {
                FDNAME_ACTIVATED
            };
            // The socket goes on standing there.
            std::mem::forget(socket.bound);
            (socket.copy, name)
        };
        self.sockets.into_iter().map(inherited).collect()
    }

    /// Looks after our presence until it is dropped.
    pub async fn run(&mut self) -> Infallible {
        let watchdog = NotifySocket::watchdog();
        // Twice in the time the watchdog grants, as sd_watchdog_enabled(3) advises.
        let pause = watchdog.map_or(Duration::MAX, |limit| limit / 2);
        loop {
            self.clock.sleep_at_most(pause).await;
            self.rebind_missing().await;
            if watchdog.is_some() && self.self_check(pause.min(SELF_CHECK_TIMEOUT)).await {
                NotifySocket::watchdog_ping();
            }
        }
    }

    /// Makes each socket of ours again that somebody has taken away.
    async fn rebind_missing(&mut self) {
        for socket in &mut self.sockets {
            if let Some(listener) = socket.rebind_missing() {
                let _ = self.listeners.send((socket.protocol, listener)).await;
            }
        }
    }

    /// Asks ourselves where frames are spoken; HTTP is the same loop's work.
    async fn self_check(&self, patience: Duration) -> bool {
        for socket in self
            .sockets
            .iter()
            .filter(|it| it.protocol == Protocol::Frames)
        {
            // There is no way to ask by a lent socket without its path, and a restart would
            // bring none: that this loop runs has to be enough.
            if !socket.is_in_place() && socket.bound.is_none() {
                continue;
            }
            if let Err(error) = (self.self_check)(&socket.path, patience).await {
                info!(socket = %socket.path.display(), "no answer from ourselves: {error}");
                return false;
            }
        }
        true
    }
}

impl WatchedSocket {
    fn is_in_place(&self) -> bool {
        self.expected_inode.is_some() && identity(&self.path) == self.expected_inode
    }

    fn rebind_missing(&mut self) -> Option<UnixListener> {
        if self.bound.is_none() {
            self.log_if_missing();
            return None;
        }
        let bound = self.bound.as_ref().filter(|it| !it.is_in_place())?;
        match sockets::bind(bound.path(), bound.scope(), 1) {
            Ok((listener, bound)) => {
                warn!(socket = %bound.path().display(), "the socket was taken away; listening again");
                match copy(&listener) {
                    Ok((_, copy)) => self.copy = copy,
                    Err(error) => warn!("the new socket cannot be copied: {error}"),
                }
                self.bound = Some(bound);
                self.expected_inode = identity(&self.path);
                self.last_logged = None;
                return Some(listener);
            }
            Err(ListenError::Live(path)) => {
                error!(
                    "another daemon has taken {}; nobody finds this one",
                    path.display()
                );
                // Said once; the place is theirs.
                self.bound = None;
                self.last_logged = Some(String::new());
            }
            Err(error) => {
                let error = format!("{error} (hint: {})", error.hint());
                if self.last_logged.as_ref() != Some(&error) {
                    warn!("the socket was taken away: {error}");
                    self.last_logged = Some(error);
                }
            }
        }
        None
    }
}

impl WatchedSocket {
    /// Says, once, that a socket that is not ours to make again does not stand any more.
    fn log_if_missing(&mut self) {
        if self.is_in_place() {
            self.last_logged = None;
        } else if self.last_logged.is_none() {
            error!(
                "the socket {} was taken away, and it is not ours to make again: nobody finds \
                 this daemon (hint: systemctl [--user] restart stsd.socket)",
                self.path.display()
            );
            self.last_logged = Some(String::new());
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
