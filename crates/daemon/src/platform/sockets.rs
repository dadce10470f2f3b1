//! The listening sockets: inherited ones, or a socket in a directory that no other user can write to.

use std::{
    env,
    fs::{self, DirBuilder, File, Metadata},
    io::{self, ErrorKind},
    net::TcpListener,
    os::{
        fd::{AsRawFd as _, OwnedFd, RawFd},
        unix::{
            fs::{
                DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _,
                PermissionsExt as _,
            },
            net::UnixListener as StdUnixListener,
        },
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use listenfd::ListenFd;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    libc,
    sys::{
        socket::{
            AddressFamily, SockFlag, SockType, UnixAddr, UnixCredentials, connect, getsockopt,
            socket, sockopt::PeerCredentials,
        },
        stat::{Mode, umask},
    },
    unistd::{close, geteuid, getpid},
};
use tokio::net::{UnixListener, UnixSocket};
use tracing::{info, warn};

use crate::{
    platform::systemd::NotifySocket,
    runtime::{
        listener::{LISTEN_BACKLOG, Protocol},
        trust,
        trust::{Purpose, TrustError},
    },
};

/// Maximum number of attempts to lock the directory, and the pause between them: 1 s in all.
const LOCK_ATTEMPTS: u32 = 50;
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Maximum number of checks for a live daemon at start. A daemon may be about to end, and a child of a
/// killed daemon holds its socket until the child calls execve(2).
const MAX_LIVENESS_CHECKS: u32 = 3;

/// The users that can connect to the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketScope {
    /// The daemon's user: directory 0700, socket 0600.
    User,
    /// All users, subject to the access rules: directory not writable for others, socket 0666.
    System,
}

/// The path of a socket that this process has bound. The drop removes the socket.
#[derive(Debug)]
pub struct BoundPath {
    path: PathBuf,
    scope: SocketScope,
    device: u64,
    inode: u64,
}

/// A listening socket.
#[derive(Debug)]
pub struct ListeningSocket {
    /// The protocol of the socket.
    pub protocol: Protocol,
    /// The socket.
    pub listener: UnixListener,
    /// The path, if this process has bound the socket.
    pub bound: Option<BoundPath>,
}

/// The descriptors at start.
#[derive(Default)]
pub struct InheritedSockets {
    /// The listening sockets.
    pub sockets: Vec<ListeningSocket>,
    /// The loopback socket of the previous process.
    pub tcp: Option<TcpListener>,
    /// The sessions of the previous process.
    pub sessions: Vec<File>,
    /// Why there is no HTTP socket, with the hint; `None` without a problem.
    pub problem: Option<(String, &'static str)>,
}

impl InheritedSockets {
    /// Returns the directories that must stay writable: a socket is bound again after its removal, and
    /// removed at the end.
    #[must_use]
    pub fn writable(&self) -> Vec<PathBuf> {
        self.own_directory().into_iter().collect()
    }

    /// Returns the directory of a socket that this process has bound.
    #[must_use]
    pub fn own_directory(&self) -> Option<PathBuf> {
        let mut paths = self.sockets.iter().filter_map(|it| it.bound.as_ref());
        paths.find_map(|bound| bound.path().parent().map(Path::to_owned))
    }
}

/// Maximum length of a socket's path, in bytes: `sun_path` has 108 with its NUL, unix(7).
const MAX_PATH_BYTES: usize = 107;

/// The file name of the HTTP socket, in the directory of the frame socket.
const HTTP_SOCKET_FILE: &str = "http.sock";

/// The file name of the master secret of the URLs: in the state directory, or else in the directory
/// of the sockets.
pub const MASTER_SECRET_FILE: &str = "http.secret";

/// The file name of the URLs' secret in version 0.1, in the directory of the sockets. Each URL held
/// this secret, which therefore is no master secret; the daemon removes the file.
pub const OLD_TOKEN_FILE: &str = "http.token";

/// The descriptor name of a socket that the previous program has bound.
pub const FDNAME_OWNED: &str = "own";

/// The descriptor name of a socket of systemd.
pub const FDNAME_ACTIVATED: &str = "stsd";

/// Returns all files that the daemon creates in the directory of its socket.
#[must_use]
pub fn runtime_files(socket: &Path) -> Vec<PathBuf> {
    let names = [HTTP_SOCKET_FILE, MASTER_SECRET_FILE, OLD_TOKEN_FILE];
    let beside = names.map(|it| socket.with_file_name(it));
    [socket.to_owned()].into_iter().chain(beside).collect()
}

/// Why the daemon cannot listen at a path.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another daemon listens at the path.
    #[error("another daemon{} is listening at {path} already", of_user(*holder))]
    Live {
        /// The socket.
        path: PathBuf,
        /// The user of that daemon; `None` if the kernel reports none.
        holder: Option<u32>,
    },
    /// Another program holds the lock of the directory.
    #[error("another program keeps a lock on {0}")]
    Busy(PathBuf),
    /// The path leads to a file that is no socket.
    #[error("{0} exists and is not a socket")]
    NotASocket(PathBuf),
    /// Another user could replace the socket.
    #[error("the directory {path} is not safe for a socket: {reason}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with the directory.
        reason: String,
    },
    /// The kernel takes no path of this length.
    #[error(
        "cannot listen at {0}: the path has {length} bytes, a socket's at most {MAX_PATH_BYTES}",
        length = .0.as_os_str().len()
    )]
    TooLong(PathBuf),
    /// A system call has failed.
    #[error("cannot listen at {path}: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
}

impl ListenError {
    /// Returns `true` if a later attempt may succeed without a change by a person or a program.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Busy(_) => true,
            Self::Io { source, .. } => {
                matches!(
                    source.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::OutOfMemory
                ) || matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
            }
            _ => false,
        }
    }

    /// Returns what to do about the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Live { .. } => "use or stop that daemon, or set STSD_SOCKET to another path",
            Self::Busy(_) => "find the program with lslocks, and stop it",
            Self::NotASocket(_) => "move the file away, or set STSD_SOCKET to another path",
            Self::Directory { .. } => {
                "make the directory yours with mode 0700, or set STSD_SOCKET to a path in such a directory"
            }
            Self::TooLong(_) => "set STSD_SOCKET to a shorter path, for stsd and for its clients",
            Self::Io { source, .. } => hint_for(source),
        }
    }
}

/// Returns the hint for a failed system call, by its error.
fn hint_for(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull => "free space and inodes on its file system",
        ErrorKind::QuotaExceeded => "free space: the quota of this user is used up",
        ErrorKind::NotFound => "create the directory above it, or set STSD_SOCKET to another path",
        ErrorKind::NotADirectory => {
            "a part of the path is a file: move the file away, or set STSD_SOCKET to another path"
        }
        ErrorKind::PermissionDenied => {
            "let this user write to the directory, or set STSD_SOCKET to a path in a directory of \
             this user with mode 0700"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only: set STSD_SOCKET to a path on another one"
        }
        _ if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
            "raise the limit of open files (ulimit -n, LimitNOFILE=)"
        }
        _ => "set STSD_SOCKET to a path in a directory of this user with mode 0700",
    }
}

/// Returns the inherited sockets, or else binds new ones at `path` and beside it. Sockets of systemd
/// are never unlinked.
///
/// # Errors
/// [`ListenError`], with its hint.
pub fn open(
    scope: SocketScope,
    path: impl FnOnce() -> anyhow::Result<PathBuf>,
) -> anyhow::Result<InheritedSockets> {
    let inherited = inherited(scope);
    let mut inherited = inherited.context("an inherited descriptor cannot be used")?;
    if !inherited.sockets.is_empty() {
        info!("listening on an inherited socket");
        return Ok(inherited);
    }
    let path = path()?;
    let socket = ListeningSocket::bind(Protocol::Frames, &path, scope)
        .map_err(|error| anyhow!("{error} (hint: {})", error.hint()))?;
    info!(socket = %path.display(), "listening");
    inherited.sockets.push(socket);
    // A failure of the HTTP socket must not stop the frame socket.
    let path = path.with_file_name(HTTP_SOCKET_FILE);
    match ListeningSocket::bind(Protocol::Http, &path, scope) {
        Ok(socket) => inherited.sockets.push(socket),
        Err(error) => {
            warn!("no HTTP socket: {error} (hint: {})", error.hint());
            inherited.problem = Some((format!("no HTTP socket: {error}"), error.hint()));
        }
    }
    Ok(inherited)
}

/// Returns the descriptors of systemd or of the previous program, by their names.
fn inherited(scope: SocketScope) -> anyhow::Result<InheritedSockets> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut descriptors = ListenFd::from_env();
    let mut inherited = InheritedSockets::default();
    for index in 0..descriptors.len() {
        let name = names.next().unwrap_or_default();
        if NotifySocket::is_sessions_name(name) {
            let number = descriptors.take_raw_fd(index)?;
            inherited.sessions.extend(number.and_then(memfd));
            continue;
        }
        if name == NotifySocket::HTTP_SOCKET {
            inherited.tcp = descriptors.take_tcp_listener(index)?;
            continue;
        }
        let Some(listener) = descriptors.take_unix_listener(index)? else {
            continue;
        };
        // Created only for an own socket: the drop of a `BoundPath` removes the socket.
        let ours = name == FDNAME_OWNED;
        let bound = ours.then(|| BoundPath::of(&listener, scope)).flatten();
        listener.set_nonblocking(true)?;
        inherited.sockets.push(ListeningSocket {
            protocol: protocol_of(&listener),
            listener: UnixListener::from_std(listener)?,
            bound,
        });
    }
    Ok(inherited)
}

/// Opens an inherited memfd again, and closes the inherited descriptor.
fn memfd(number: RawFd) -> Option<File> {
    let file = File::open(format!("/proc/self/fd/{number}")).ok();
    let _ = close(number);
    file
}

/// Binds a socket: checks the directory, and replaces the socket of a daemon that has ended.
///
/// # Errors
/// [`ListenError`]; files of other programs are unchanged.
pub fn bind(
    path: &Path,
    scope: SocketScope,
    tries: u32,
) -> Result<(UnixListener, BoundPath), ListenError> {
    let io = |source| ListenError::Io {
        path: path.to_owned(),
        source,
    };
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    let directory = directory.ok_or_else(|| {
        let reason = "the path names no file in a directory";
        io(io::Error::new(ErrorKind::InvalidInput, reason))
    })?;
    if path.as_os_str().len() > MAX_PATH_BYTES {
        return Err(ListenError::TooLong(path.to_owned()));
    }
    create_directory(directory, scope).map_err(io)?;
    check_directory(directory, scope)?;

    let mut checks = tries.min(MAX_LIVENESS_CHECKS);
    loop {
        checks = checks.saturating_sub(1);
        // The lock keeps two daemons that start at once from unlinking each other's socket.
        let lock = lock_directory(directory, scope, tries, io)?;
        match remove_stale_socket(path, io) {
            Ok(()) => return bind_new(path, scope).map_err(io),
            Err(ListenError::Live { .. }) if checks > 0 => {}
            Err(error) => return Err(error),
        }
        drop(lock);
        thread::sleep(LOCK_POLL_INTERVAL);
    }
}

/// Binds a socket at a path without a file.
fn bind_new(path: &Path, scope: SocketScope) -> io::Result<(UnixListener, BoundPath)> {
    let mask = match scope {
        SocketScope::User => 0o177,
        SocketScope::System => 0o111,
    };
    let before = umask(Mode::from_bits_truncate(mask));
    let listener = UnixSocket::new_stream()
        .and_then(|socket| socket.bind(path).map(|()| socket))
        .and_then(|socket| socket.listen(LISTEN_BACKLOG));
    umask(before);
    Ok((listener?, BoundPath::at(path, scope)?))
}

/// Locks a file that no other user can open: the directory, or in a directory that is readable for
/// others a file in it. Makes `tries` attempts at most.
fn lock_directory(
    directory: &Path,
    scope: SocketScope,
    tries: u32,
    io: impl Fn(io::Error) -> ListenError,
) -> Result<Flock<File>, ListenError> {
    let (path, opened) = match scope {
        SocketScope::User => (directory.to_owned(), File::open(directory)),
        SocketScope::System => {
            let path = directory.join(".lock");
            let mut options = File::options();
            let options = options.read(true).write(true).create(true).mode(0o600);
            let opened = options.open(&path);
            (path, opened)
        }
    };
    let mut file = opened.map_err(&io)?;
    for left in (0..tries).rev() {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((same, Errno::EWOULDBLOCK)) => file = same,
            Err((_, error)) => return Err(io(error.into())),
        }
        if left > 0 {
            thread::sleep(LOCK_POLL_INTERVAL);
        }
    }
    Err(ListenError::Busy(path))
}

fn create_directory(directory: &Path, scope: SocketScope) -> io::Result<()> {
    let mode = match scope {
        SocketScope::User => 0o700,
        SocketScope::System => 0o755,
    };
    match DirBuilder::new().mode(mode).create(directory) {
        // mkdir(2) applies the umask to the mode.
        Ok(()) => fs::set_permissions(directory, fs::Permissions::from_mode(mode)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Judges the directory of a socket.
///
/// # Errors
/// [`ListenError::Directory`].
pub(super) fn check_directory(directory: &Path, scope: SocketScope) -> Result<(), ListenError> {
    let unsafe_because = |reason: String| ListenError::Directory {
        path: directory.to_owned(),
        reason,
    };
    let metadata =
        fs::symlink_metadata(directory).map_err(|error| unsafe_because(error.to_string()))?;
    if !metadata.is_dir() {
        return Err(unsafe_because("it is not a directory".to_owned()));
    }
    let ours = geteuid().as_raw();
    if metadata.uid() != ours {
        return Err(unsafe_because(format!(
            "it belongs to uid {}",
            metadata.uid()
        )));
    }
    let forbidden = match scope {
        SocketScope::User => 0o077,
        SocketScope::System => 0o022,
    };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & forbidden != 0 {
        return Err(unsafe_because(format!("its mode is {mode:04o}")));
    }
    // A user that can rename a directory above could put another socket in place of this one.
    trust::check(directory, Purpose::SocketDirectory).map_err(|error| match error {
        TrustError::Io(error) => unsafe_because(error.to_string()),
        TrustError::Loose(loose) => unsafe_because(format!("it {loose}; {}", loose.hint())),
    })
}

/// Removes a socket without a listener. A socket that another process removes meanwhile is no error.
fn remove_stale_socket(
    path: &Path,
    io: impl Fn(io::Error) -> ListenError,
) -> Result<(), ListenError> {
    let gone = |error: &io::Error| error.kind() == ErrorKind::NotFound;
    let metadata: Metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return Err(io(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket(path.to_owned()));
    }
    let live = |holder| ListenError::Live {
        path: path.to_owned(),
        holder,
    };
    match probe_connect(path) {
        Ok(connected) => Err(live(credentials(&connected).map(|it| it.uid()))),
        // A full backlog belongs to a live daemon too.
        Err(Errno::EAGAIN) => Err(live(None)),
        Err(Errno::ENOENT) => Ok(()),
        Err(Errno::ECONNREFUSED) => match fs::remove_file(path) {
            Err(error) if !gone(&error) => Err(io(error)),
            _ => Ok(()),
        },
        Err(error) => Err(io(error.into())),
    }
}

/// Connects without blocking.
fn probe_connect(path: &Path) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// Returns the credentials of the process that called listen(2); `None` if the kernel reports none.
fn credentials(connected: &OwnedFd) -> Option<UnixCredentials> {
    getsockopt(connected, PeerCredentials).ok()
}

/// Returns `true` if this process listens at a path.
fn listens_here(path: &Path) -> bool {
    let connected = probe_connect(path).ok();
    let credentials = connected.and_then(|it| credentials(&it));
    credentials.is_some_and(|it| it.pid() == getpid().as_raw())
}

/// Returns the words for the user of another daemon.
pub(crate) fn of_user(holder: Option<u32>) -> String {
    holder.map_or_else(String::new, |uid| format!(" of uid {uid}"))
}

/// Returns the protocol of an inherited socket, by its file name.
fn protocol_of(listener: &StdUnixListener) -> Protocol {
    let address = listener.local_addr().ok();
    let path = address.as_ref().and_then(|it| it.as_pathname());
    match path.and_then(Path::file_name) {
        Some(name) if name == HTTP_SOCKET_FILE => Protocol::Http,
        _ => Protocol::Frames,
    }
}

impl ListeningSocket {
    fn bind(protocol: Protocol, path: &Path, scope: SocketScope) -> Result<Self, ListenError> {
        let (listener, bound) = bind(path, scope, LOCK_ATTEMPTS)?;
        Ok(Self {
            protocol,
            listener,
            bound: Some(bound),
        })
    }
}

impl BoundPath {
    fn at(path: &Path, scope: SocketScope) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            scope,
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    /// Returns the path of a socket that the previous program of this process has bound. If the path
    /// leads to another socket by now, or to none, the result is not in place.
    fn of(listener: &StdUnixListener, scope: SocketScope) -> Option<Self> {
        let address = listener.local_addr().ok()?;
        let path = address.as_pathname()?;
        let found = Self::at(path, scope).ok().filter(|_| listens_here(path));
        Some(found.unwrap_or_else(|| Self {
            path: path.to_owned(),
            scope,
            device: 0,
            inode: 0,
        }))
    }

    /// Returns the socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the users that can connect to the socket.
    #[must_use]
    pub fn scope(&self) -> SocketScope {
        self.scope
    }

    /// Returns `true` if the path leads to the bound socket.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|it| (it.dev(), it.ino()) == (self.device, self.inode))
    }
}

impl Drop for BoundPath {
    /// Removes the socket, unless another process has replaced it.
    fn drop(&mut self) {
        if self.is_in_place() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::{
            fs::{PermissionsExt as _, symlink},
            net::UnixListener,
        },
        thread,
    };

    use nix::{
        fcntl::{Flock, FlockArg},
        unistd::geteuid,
    };

    use super::{LOCK_ATTEMPTS, LOCK_POLL_INTERVAL, ListenError, SocketScope, bind};

    fn private() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        directory
    }

    #[tokio::test]
    async fn symlink_at_the_socket_path_is_refused_and_stays() {
        let directory = private();
        let (path, link) = (directory.path().join("to"), directory.path().join("socket"));
        symlink(&path, &link).unwrap();
        let refused = bind(&link, SocketScope::User, 1).unwrap_err();
        assert!(matches!(refused, ListenError::NotASocket(_)), "{refused}");
        assert!(link.is_symlink() && !path.exists());

        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let refused = bind(&link.join("socket"), SocketScope::User, 1).unwrap_err();
        assert!(
            matches!(refused, ListenError::Directory { .. }),
            "{refused}"
        );
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn socket_of_an_ending_daemon_is_awaited_and_a_live_one_is_refused() {
        let directory = private();
        let path = directory.path().join("socket");
        for removes_socket in [false, true] {
            let ending = UnixListener::bind(&path).unwrap();
            let refused = bind(&path, SocketScope::User, LOCK_ATTEMPTS).unwrap_err();
            let own = Some(geteuid().as_raw());
            let is_live = matches!(&refused, ListenError::Live { holder, .. } if *holder == own);
            assert!(is_live, "{refused}");
            assert!(path.exists());
            drop(ending);
            fs::remove_file(&path).unwrap();
            // On a busy machine the daemon may end too late for one attempt.
            let waited = (0..20).any(|_| {
                let (ending, its) = (UnixListener::bind(&path).unwrap(), path.clone());
                let ended = thread::spawn(move || {
                    thread::sleep(LOCK_POLL_INTERVAL / 2);
                    if removes_socket {
                        fs::remove_file(its).unwrap();
                    }
                    drop(ending);
                });
                let bound = bind(&path, SocketScope::User, LOCK_ATTEMPTS);
                ended.join().unwrap();
                let waited = bound.is_ok();
                drop(bound);
                let _ = fs::remove_file(&path);
                waited
            });
            assert!(waited, "{removes_socket}");
        }
    }

    #[tokio::test]
    async fn lock_on_a_readable_directory_does_not_block_the_system_daemon() {
        let directory = private();
        let lock = |path| Flock::lock(File::open(path).unwrap(), FlockArg::LockShared).unwrap();
        let held = lock(directory.path().to_owned());
        let path = directory.path().join("socket");
        let refused = bind(&path, SocketScope::User, 2).unwrap_err();
        assert!(matches!(refused, ListenError::Busy(_)), "{refused}");
        let bound = bind(&path, SocketScope::System, 1).unwrap();
        let file = directory.path().join(".lock");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        drop((held, bound));
        bind(&path, SocketScope::User, 1).unwrap();
    }
}
