//! Binds a socket in a directory that no other user can write to, in the place of the socket of a daemon
//! that has ended.

use std::{
    fs::{self, DirBuilder, File, Metadata},
    io::{self, ErrorKind},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{
            DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _,
            PermissionsExt as _,
        },
    },
    path::Path,
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::{
        socket::{
            AddressFamily, SockFlag, SockType, UnixAddr, UnixCredentials, connect, getsockopt,
            socket, sockopt::PeerCredentials,
        },
        stat::{Mode, umask},
    },
    unistd::geteuid,
};
use tokio::net::{UnixListener, UnixSocket};

use super::{BoundPath, ListenError, SocketScope, listen_error::MAX_PATH_BYTES};
use crate::runtime::{
    listener::LISTEN_BACKLOG,
    trust,
    trust::{Purpose, TrustError},
};

/// Maximum number of attempts to lock the directory, and the pause between them: 1 s in all.
pub(super) const LOCK_ATTEMPTS: u32 = 50;
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Maximum number of checks for a live daemon at start. A daemon may be about to end, and a child of a
/// killed daemon holds its socket until the child calls execve(2).
const MAX_LIVENESS_CHECKS: u32 = 3;

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
pub(in crate::platform) fn check_directory(
    directory: &Path,
    scope: SocketScope,
) -> Result<(), ListenError> {
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
pub(super) fn probe_connect(path: &Path) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// Returns the credentials of the process that called listen(2); `None` if the kernel reports none.
pub(super) fn credentials(connected: &OwnedFd) -> Option<UnixCredentials> {
    getsockopt(connected, PeerCredentials).ok()
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

    use super::{super::SocketScope, LOCK_ATTEMPTS, LOCK_POLL_INTERVAL, ListenError, bind};

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
