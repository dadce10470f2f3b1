//! Decides where we listen, and that nobody else can stand there.

use std::{
    env,
    fs::{self, DirBuilder, File, Metadata},
    io::{self, ErrorKind},
    net::TcpListener,
    os::{
        fd::{AsRawFd as _, RawFd},
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

use anyhow::anyhow;
use listenfd::ListenFd;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::{
        socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket},
        stat::{Mode, umask},
    },
    unistd::{close, geteuid},
};
use tokio::net::{UnixListener, UnixSocket};
use tracing::{info, warn};

use crate::{
    platform::systemd::NotifySocket,
    runtime::listener::{LISTEN_BACKLOG, Protocol},
};

/// How often another daemon's turn is waited for at start, and for how long each time: a
/// second in all.
const LOCK_ATTEMPTS: u32 = 50;
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How often it is looked at start whether a daemon really listens there: one may be just
/// ending, and a process that it had started when it was killed has its socket too, until that
/// becomes its program.
const MAX_LIVENESS_CHECKS: u32 = 3;

/// Who is meant to reach the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketScope {
    /// One user: directory 0700, socket 0600.
    User,
    /// The whole machine: directory not writable by others, socket 0666; the access rules
    /// decide.
    System,
}

/// Where a socket of ours stands; dropping it takes the socket away.
#[derive(Debug)]
pub struct BoundPath {
    path: PathBuf,
    scope: SocketScope,
    device: u64,
    inode: u64,
}

/// A socket that callers come by.
#[derive(Debug)]
pub struct ListeningSocket {
    /// What is spoken there.
    pub protocol: Protocol,
    /// The socket.
    pub listener: UnixListener,
    /// Where it stands, if it is ours to look after and to take away.
    pub bound: Option<BoundPath>,
}

/// What we begin with.
#[derive(Default)]
pub struct InheritedSockets {
    /// Sockets to serve.
    pub sockets: Vec<ListeningSocket>,
    /// A loopback socket that another process of ours has left.
    pub tcp: Option<TcpListener>,
    /// Sessions that another process of ours has left.
    pub sessions: Vec<File>,
}

impl InheritedSockets {
    /// Returns where we have to be able to write: a socket of our own is made again when it
    /// is taken away, and taken away in the end.
    #[must_use]
    pub fn writable(&self) -> Vec<PathBuf> {
        self.own_directory().into_iter().collect()
    }

    /// Returns the directory of our own socket, if we have made it.
    #[must_use]
    pub fn own_directory(&self) -> Option<PathBuf> {
        let mut paths = self.sockets.iter().filter_map(|it| it.bound.as_ref());
        paths.find_map(|bound| bound.path().parent().map(Path::to_owned))
    }
}

/// The name of the socket at which HTTP is spoken, beside the other one.
const HTTP_SOCKET_FILE: &str = "http.sock";

/// The name of the file that keeps the secret of the URLs, beside a socket of our own.
pub const HTTP_TOKEN_FILE: &str = "http.token";

/// The name under which a program that takes our place inherits a socket of our own.
pub const FDNAME_OWNED: &str = "own";

/// The name for a socket of systemd, which only lends it.
pub const FDNAME_ACTIVATED: &str = "stsd";

/// Returns all that is put up where a socket of our own is.
#[must_use]
pub fn runtime_files(socket: &Path) -> Vec<PathBuf> {
    let beside = [HTTP_SOCKET_FILE, HTTP_TOKEN_FILE].map(|it| socket.with_file_name(it));
    [socket.to_owned()].into_iter().chain(beside).collect()
}

/// Why we cannot listen there.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another daemon answers there.
    #[error("another daemon is listening at {0} already")]
    Live(PathBuf),
    /// Somebody does not let us take our turn.
    #[error("another program keeps a lock on {0}")]
    Busy(PathBuf),
    /// Something that is not a socket stands there.
    #[error("{0} exists and is not a socket")]
    NotASocket(PathBuf),
    /// Somebody else could put their own socket there.
    #[error("the directory {path} is not safe for a socket: {reason}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused.
    #[error("cannot listen at {path}: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ListenError {
    /// What a human can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Live(_) => "use that one, or stop it, or set STSD_SOCKET to another path",
            Self::Busy(_) => "see which one with lslocks, and stop it",
            Self::NotASocket(_) => "move it away, or set STSD_SOCKET to another path",
            Self::Directory { .. } => {
                "make it yours with mode 0700, or set STSD_SOCKET to a path in such a directory"
            }
            Self::Io { source, .. } if source.kind() == ErrorKind::StorageFull => {
                "its file system is full: make room there, for bytes and for one more file"
            }
            Self::Io { .. } => "check the path and its permissions",
        }
    }
}

/// Listens on the sockets that are handed over, else on a socket of our own. Those of
/// systemd are used as they are and never unlinked.
///
/// # Errors
/// [`ListenError`], with its hint.
pub fn open(
    scope: SocketScope,
    path: impl FnOnce() -> anyhow::Result<PathBuf>,
) -> anyhow::Result<InheritedSockets> {
    let mut inherited = inherited(scope)?;
    if !inherited.sockets.is_empty() {
        info!("listening on the socket that was handed over");
        return Ok(inherited);
    }
    let path = path()?;
    let socket = ListeningSocket::make(Protocol::Frames, &path, scope)
        .map_err(|error| anyhow!("{error} (hint: {})", error.hint()))?;
    info!(socket = %path.display(), "listening");
    inherited.sockets.push(socket);
    // Nobody who needs the other one goes without because of this one.
    match ListeningSocket::make(
        Protocol::Http,
        &path.with_file_name(HTTP_SOCKET_FILE),
        scope,
    ) {
        Ok(socket) => inherited.sockets.push(socket),
        Err(error) => warn!(
            "nobody is answered by HTTP there: {error} (hint: {})",
            error.hint()
        ),
    }
    Ok(inherited)
}

/// Takes what systemd, or the program before us, has handed over: each descriptor for what
/// its name says.
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
        // Not made and thrown away: a place that is dropped takes its socket away.
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

/// Opens an inherited memfd anew, and closes what was inherited.
fn memfd(number: RawFd) -> Option<File> {
    let file = File::open(format!("/proc/self/fd/{number}")).ok();
    let _ = close(number);
    file
}

/// Makes the socket: checks the directory, replaces what a dead daemon left, refuses what
/// a live one holds.
///
/// # Errors
/// [`ListenError`]; nothing was changed that belongs to somebody else.
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
    let directory = directory.ok_or_else(|| io(ErrorKind::InvalidInput.into()))?;
    create_directory(directory, scope).map_err(io)?;
    check_directory(directory, scope)?;

    let mut checks = tries.min(MAX_LIVENESS_CHECKS);
    loop {
        checks = checks.saturating_sub(1);
        // Two daemons that start at once take turns here, so neither unlinks the other's socket.
        let lock = lock_directory(directory, scope, tries, io)?;
        match remove_stale_socket(path, io) {
            Ok(()) => return bind_new(path, scope).map_err(io),
            Err(ListenError::Live(_)) if checks > 0 => {}
            Err(error) => return Err(error),
        }
        drop(lock);
        thread::sleep(LOCK_POLL_INTERVAL);
    }
}

/// Listens at a path where nothing is.
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

/// Locks what nobody else can open: the directory, or where everybody may look into it, a
/// file in it. Never waits longer than for `tries`.
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
        // The mode is subject to the umask, which is there to take away, not to decide.
        Ok(()) => fs::set_permissions(directory, fs::Permissions::from_mode(mode)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn check_directory(directory: &Path, scope: SocketScope) -> Result<(), ListenError> {
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
    Ok(())
}

/// Removes a socket that nobody listens at any more. One that is taken away meanwhile makes way
/// by itself.
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
    match probe_connect(path) {
        // A full backlog is somebody's too, even if they do not answer.
        Ok(()) | Err(Errno::EAGAIN) => Err(ListenError::Live(path.to_owned())),
        Err(Errno::ENOENT) => Ok(()),
        Err(Errno::ECONNREFUSED) => match fs::remove_file(path) {
            Err(error) if !gone(&error) => Err(io(error)),
            _ => Ok(()),
        },
        Err(error) => Err(io(error.into())),
    }
}

/// Connects without waiting.
fn probe_connect(path: &Path) -> nix::Result<()> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)
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
    fn make(protocol: Protocol, path: &Path, scope: SocketScope) -> Result<Self, ListenError> {
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

    fn of(listener: &StdUnixListener, scope: SocketScope) -> Option<Self> {
        let address = listener.local_addr().ok()?;
        Self::at(address.as_pathname()?, scope).ok()
    }

    /// Returns the socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns who should reach it.
    #[must_use]
    pub fn scope(&self) -> SocketScope {
        self.scope
    }

    /// Tells whether our socket still stands there.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|it| (it.dev(), it.ino()) == (self.device, self.inode))
    }
}

impl Drop for BoundPath {
    /// Takes the socket away, unless it has been replaced by somebody else's since.
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

    use nix::fcntl::{Flock, FlockArg};

    use super::{LOCK_ATTEMPTS, LOCK_POLL_INTERVAL, ListenError, SocketScope, bind};

    fn private() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        directory
    }

    #[tokio::test]
    async fn a_link_is_no_place_for_a_socket_and_stays() {
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
    async fn a_socket_that_a_dying_daemon_still_has_is_waited_for_and_a_live_one_is_not_taken() {
        let directory = private();
        let path = directory.path().join("socket");
        for takes_it_away in [false, true] {
            let dying = UnixListener::bind(&path).unwrap();
            let refused = bind(&path, SocketScope::User, LOCK_ATTEMPTS).unwrap_err();
            assert!(matches!(refused, ListenError::Live(_)), "{refused}");
            assert!(path.exists());
            drop(dying);
            fs::remove_file(&path).unwrap();
            // On a busy machine it may die too late for one of them.
            let waited = (0..20).any(|_| {
                let (dying, its) = (UnixListener::bind(&path).unwrap(), path.clone());
                let died = thread::spawn(move || {
                    thread::sleep(LOCK_POLL_INTERVAL / 2);
                    if takes_it_away {
                        fs::remove_file(its).unwrap();
                    }
                    drop(dying);
                });
                let bound = bind(&path, SocketScope::User, LOCK_ATTEMPTS);
                died.join().unwrap();
                let waited = bound.is_ok();
                drop(bound);
                let _ = fs::remove_file(&path);
                waited
            });
            assert!(waited, "{takes_it_away}");
        }
    }

    #[tokio::test]
    async fn who_can_only_look_into_the_directory_keeps_nobody_out() {
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
