//! The watch of the listening sockets: a removed socket is bound again, and the service manager's
//! watchdog is notified after a successful self-check. A daemon that clients cannot find any more ends,
//! because it would hold its keys for nothing, unseen beside the next one.

use std::{
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
    runtime::{
        clock::Clock,
        conditions::{Condition, Conditions},
        listener::Protocol,
    },
};

/// Timeout for a self-check, also for a longer watchdog interval.
const SELF_CHECK_TIMEOUT: Duration = Duration::from_secs(20);

/// Interval between attempts to bind a removed socket again.
const REBIND_INTERVAL: Duration = Duration::from_secs(2);

/// Maximum number of failed attempts in a row before the daemon ends: whatever removed the directory
/// of the socket may be about to create a new one.
const MAX_REBIND_ATTEMPTS: u32 = 5;

/// Why no client can find the daemon any more.
#[derive(Debug, thiserror::Error)]
#[error("the daemon ends, because no client can find it any more: {0}")]
pub struct Unreachable(String);

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
    conditions: Arc<Conditions>,
    /// The problem of a socket that could not be bound at start, with the hint.
    problem_at_start: Option<(String, &'static str)>,
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
    /// The identity of the socket's directory at start, to which Landlock binds the process.
    directory: Option<(u64, u64)>,
    /// The problem with the socket, which has been logged.
    problem: Option<String>,
    /// The number of failed attempts in a row to bind the socket again.
    failed_rebinds: u32,
}

impl SocketWatch {
    /// Returns a watch of the sockets, and sends the sockets to `listeners`. `problem_at_start` is that of
    /// a socket that could not be bound.
    ///
    /// # Errors
    /// A socket cannot be duplicated.
    pub async fn new(
        sockets: Vec<ListeningSocket>,
        clock: Arc<dyn Clock>,
        listeners: mpsc::Sender<(Protocol, UnixListener)>,
        self_check: SelfCheck,
        conditions: Arc<Conditions>,
        problem_at_start: Option<(String, &'static str)>,
    ) -> io::Result<Self> {
        let mut kept = Vec::new();
        for socket in sockets {
            let (path, copy) = copy(&socket.listener)?;
            kept.push(WatchedSocket {
                protocol: socket.protocol,
                expected_inode: identity(&path),
                directory: path.parent().and_then(identity),
                path,
                copy,
                bound: socket.bound,
                problem: None,
                failed_rebinds: 0,
            });
            let _ = listeners.send((socket.protocol, socket.listener)).await;
        }
        let watch = Self {
            sockets: kept,
            clock,
            self_check,
            listeners,
            conditions,
            problem_at_start,
        };
        watch.record_problem();
        Ok(watch)
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

    /// Watches the sockets until no client can find the daemon any more.
    pub async fn run(&mut self) -> Unreachable {
        let watchdog = NotifySocket::watchdog();
        // At half of the watchdog interval, as sd_watchdog_enabled(3) advises.
        let pause = watchdog.map_or(Duration::MAX, |limit| limit / 2);
        loop {
            let is_missing =
                |it: &WatchedSocket| it.bound.as_ref().is_some_and(|it| !it.is_in_place());
            let pause = match self.sockets.iter().any(is_missing) {
                true => pause.min(REBIND_INTERVAL),
                false => pause,
            };
            self.clock.sleep_at_most(pause).await;
            if let Err(unreachable) = self.rebind_missing().await {
                return unreachable;
            }
            if watchdog.is_some() && self.self_check(pause.min(SELF_CHECK_TIMEOUT)).await {
                NotifySocket::watchdog_ping();
            }
        }
    }

    /// Binds each socket again that was removed, if this process has bound the socket.
    ///
    /// # Errors
    /// [`Unreachable`], if the socket of the frame protocol cannot be bound again.
    async fn rebind_missing(&mut self) -> Result<(), Unreachable> {
        for socket in &mut self.sockets {
            if let Some(listener) = socket.rebind_missing()? {
                let _ = self.listeners.send((socket.protocol, listener)).await;
            }
        }
        self.record_problem();
        Ok(())
    }

    /// Records the first problem of the sockets, or the end of the problems.
    fn record_problem(&self) {
        let hint = "start the daemon again; with systemd: systemctl [--user] restart stsd.socket";
        let mut problems = self.sockets.iter().filter_map(|it| it.problem.as_deref());
        let at_start = self.problem_at_start.as_ref();
        let at_start = at_start.map(|(problem, hint)| (problem.as_str(), *hint));
        let directory = self.sockets.iter().find_map(WatchedSocket::directory_error);
        let directory = directory.map(|it| (it.to_string(), it.hint()));
        let of_directory = directory.as_ref().map(|it| (it.0.as_str(), it.1));
        match problems
            .next()
            .map(|it| (it, hint))
            .or(at_start)
            .or(of_directory)
        {
            Some((problem, hint)) => {
                let now = self.clock.boot();
                let is_new = self.conditions.fail(Condition::Socket, problem, hint, now);
                // The others are logged where they are found.
                if is_new && of_directory == Some((problem, hint)) {
                    warn!(hint, "{problem}");
                }
            }
            None => {
                self.conditions.recover(Condition::Socket);
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
    /// Returns the error of a directory that was safe when the socket was bound.
    fn directory_error(&self) -> Option<ListenError> {
        let bound = self.bound.as_ref()?;
        let directory = bound.path().parent()?;
        match sockets::check_directory(directory, bound.scope()) {
            // The watch of the socket reports a removed directory.
            Err(_) if identity(directory).is_none() => None,
            checked => checked.err(),
        }
    }

    fn is_in_place(&self) -> bool {
        self.expected_inode.is_some() && identity(&self.path) == self.expected_inode
    }

    /// Binds the socket again if it was removed, and returns the new listener.
    ///
    /// # Errors
    /// [`Unreachable`]
    fn rebind_missing(&mut self) -> Result<Option<UnixListener>, Unreachable> {
        let Some(bound) = &self.bound else {
            self.log_if_missing();
            return Ok(None);
        };
        if bound.is_in_place() {
            return Ok(None);
        }
        match sockets::bind(bound.path(), bound.scope(), 1) {
            Ok((listener, bound)) => {
                self.rebound(&listener, bound);
                Ok(Some(listener))
            }
            Err(error) => self.rebind_failed(&error).map(|()| None),
        }
    }

    fn rebound(&mut self, listener: &UnixListener, bound: BoundPath) {
        warn!(socket = %bound.path().display(), "the socket was removed; listening again");
        match copy(listener) {
            Ok((_, copy)) => self.copy = copy,
            Err(error) => warn!("the new socket cannot be duplicated: {error}"),
        }
        self.bound = Some(bound);
        self.expected_inode = identity(&self.path);
        self.problem = None;
        self.failed_rebinds = 0;
    }

    /// Logs a failed attempt, unless it repeats the last one.
    ///
    /// # Errors
    /// [`Unreachable`], for the socket of the frame protocol after the last attempt.
    fn rebind_failed(&mut self, error: &ListenError) -> Result<(), Unreachable> {
        let path = self.path.display();
        let is_live = matches!(error, ListenError::Live { .. });
        let problem = match error {
            ListenError::Live { holder, .. } => {
                format!(
                    "another daemon{} now owns {path}",
                    sockets::of_user(*holder)
                )
            }
            error => format!(
                "the socket was removed: {error} (hint: {})",
                self.hint(error)
            ),
        };
        if self.problem.as_ref() != Some(&problem) {
            error!("{problem}");
            self.problem = Some(problem.clone());
        }
        if error.is_transient() {
            self.failed_rebinds = 0;
            return Ok(());
        }
        self.failed_rebinds += 1;
        let is_last = is_live || self.failed_rebinds >= MAX_REBIND_ATTEMPTS;
        match self.protocol {
            Protocol::Frames if is_last => Err(Unreachable(problem)),
            // The frame protocol is served without the HTTP socket.
            _ => Ok(()),
        }
    }

    /// Returns what to do about a failed attempt.
    fn hint(&self, error: &ListenError) -> &'static str {
        let is_same = self.path.parent().and_then(identity) == self.directory;
        match error {
            ListenError::Io { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied && !is_same =>
            {
                "the directory of the socket was removed and made again, and Landlock binds this \
                 process to the removed one; start stsd again"
            }
            error => error.hint(),
        }
    }

    /// Logs, once, the removal of a socket that this process has not bound. The daemon does not end:
    /// the service manager would start it again with the same socket.
    fn log_if_missing(&mut self) {
        let path = self.path.display();
        match (self.is_in_place(), &self.problem) {
            (true, Some(_)) => {
                info!("the socket {path} of systemd is in its place again");
                self.problem = None;
            }
            (false, None) => {
                let problem = format!(
                    "the socket {path} of systemd was removed: this daemon is unreachable (hint: \
                     systemctl [--user] restart stsd.socket)"
                );
                error!("{problem}");
                self.problem = Some(problem);
            }
            _ => {}
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
