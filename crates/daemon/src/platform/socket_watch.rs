//! The watch of the listening sockets: a removed socket is bound again, and the service manager's
//! watchdog is notified after a successful self-check.

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

/// Timeout for a self-check, also for a longer watchdog interval.
const SELF_CHECK_TIMEOUT: Duration = Duration::from_secs(20);

/// Sends a request to a socket of the daemon and waits for the reply, for a limited time.
pub type SelfCheck = for<'a> fn(&'a Path, Duration) -> SelfCheckFuture<'a>;

/// The result of a [`SelfCheck`].
pub type SelfCheckFuture<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;

/// The watched sockets.
pub struct SocketWatch {
    sockets: Vec<WatchedSocket>,
    clock: Arc<dyn Clock>,
    self_check: SelfCheck,
    /// The receiver of sockets that were bound again.
    listeners: mpsc::Sender<(Protocol, UnixListener)>,
}

/// A listening socket, with a duplicate for the next program.
struct WatchedSocket {
    protocol: Protocol,
    path: PathBuf,
    copy: OwnedFd,
    /// The inode at the path at start: another socket at the path is not checked.
    expected_inode: Option<(u64, u64)>,
    /// The path, if this process has bound the socket.
    bound: Option<BoundPath>,
    /// The last logged error, so that a repetition is not logged.
    last_logged: Option<String>,
}

impl SocketWatch {
    /// Returns a watch of the sockets, and sends the sockets to `listeners`.
    ///
    /// # Errors
    /// A socket cannot be duplicated.
    pub async fn new(
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

    /// Ends the watch and returns the sockets for the next program, with their descriptor names.
    #[must_use]
    pub fn into_sockets(self) -> Vec<(OwnedFd, &'static str)> {
        let inherited = |socket: WatchedSocket| {
            let name = if socket.bound.is_some() {
                FDNAME_OWNED
            } else {
                FDNAME_ACTIVATED
            };
            // The drop would remove the socket from the file system.
            std::mem::forget(socket.bound);
            (socket.copy, name)
        };
        self.sockets.into_iter().map(inherited).collect()
    }

    /// Watches the sockets until the future is dropped.
    pub async fn run(&mut self) -> Infallible {
        let watchdog = NotifySocket::watchdog();
        // At half of the watchdog interval, as sd_watchdog_enabled(3) advises.
        let pause = watchdog.map_or(Duration::MAX, |limit| limit / 2);
        loop {
            self.clock.sleep_at_most(pause).await;
            self.rebind_missing().await;
            if watchdog.is_some() && self.self_check(pause.min(SELF_CHECK_TIMEOUT)).await {
                NotifySocket::watchdog_ping();
            }
        }
    }

    /// Binds each socket again that was removed, if this process has bound the socket.
    async fn rebind_missing(&mut self) {
        for socket in &mut self.sockets {
            if let Some(listener) = socket.rebind_missing() {
                let _ = self.listeners.send((socket.protocol, listener)).await;
            }
        }
    }

    /// Returns `true` if each socket of the frame protocol answers. HTTP runs in the same process.
    async fn self_check(&self, patience: Duration) -> bool {
        for socket in self
            .sockets
            .iter()
            .filter(|it| it.protocol == Protocol::Frames)
        {
            // A systemd socket without its path cannot be checked, and a restart would not restore
            // the path: the running loop has to be enough.
            if !socket.is_in_place() && socket.bound.is_none() {
                continue;
            }
            if let Err(error) = (self.self_check)(&socket.path, patience).await {
                info!(socket = %socket.path.display(), "self-check failed: {error}");
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
                warn!(socket = %bound.path().display(), "the socket was removed; listening again");
                match copy(&listener) {
                    Ok((_, copy)) => self.copy = copy,
                    Err(error) => warn!("the new socket cannot be duplicated: {error}"),
                }
                self.bound = Some(bound);
                self.expected_inode = identity(&self.path);
                self.last_logged = None;
                return Some(listener);
            }
            Err(ListenError::Live(path)) => {
                error!(
                    "another daemon now owns {}; this daemon is unreachable",
                    path.display()
                );
                // Logged once; the path belongs to the other daemon.
                self.bound = None;
                self.last_logged = Some(String::new());
            }
            Err(error) => {
                let error = format!("{error} (hint: {})", error.hint());
                if self.last_logged.as_ref() != Some(&error) {
                    warn!("the socket was removed: {error}");
                    self.last_logged = Some(error);
                }
            }
        }
        None
    }

    /// Logs, once, the removal of a socket that this process has not bound.
    fn log_if_missing(&mut self) {
        if self.is_in_place() {
            self.last_logged = None;
        } else if self.last_logged.is_none() {
            error!(
                "the socket {} of systemd was removed: this daemon is unreachable (hint: systemctl \
                 [--user] restart stsd.socket)",
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
