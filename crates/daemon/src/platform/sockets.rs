//! The listening sockets: inherited ones, or a socket in a directory that no other user can write to.

mod bind;
mod bound_path;
mod listen_error;

use std::{
    env,
    fs::File,
    net::TcpListener,
    os::{fd::RawFd, unix::net::UnixListener as StdUnixListener},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use listenfd::ListenFd;
use nix::unistd::close;
use tokio::net::UnixListener;
use tracing::{info, warn};

use self::bind::LOCK_ATTEMPTS;
pub(super) use self::bind::check_directory;
pub(crate) use self::listen_error::of_user;
pub use self::{bind::bind, bound_path::BoundPath, listen_error::ListenError};
use crate::{platform::systemd::NotifySocket, runtime::listener::Protocol};

/// The users that can connect to the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketScope {
    /// The daemon's user: directory 0700, socket 0600.
    User,
    /// All users, subject to the access rules: directory not writable for others, socket 0666.
    System,
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

/// The file name of the HTTP socket, in the directory of the frame socket.
const HTTP_SOCKET_FILE: &str = "http.sock";

/// The file name of the master secret of the URLs: in the state directory, or else in the directory
/// of the sockets.
pub const MASTER_SECRET_FILE: &str = "http.secret";

/// The file name of the URLs' secret in version 0.1, in the directory of the sockets. Each URL held
/// this secret, which therefore is no master secret; the daemon removes the file.
pub const OLD_TOKEN_FILE: &str = "http.token";

/// The file name of the sessions between a stop and the next start, in the directory of the sockets.
pub const SESSION_FILE: &str = "sessions.secret";

/// The descriptor name of a socket that the previous program has bound.
pub const FDNAME_OWNED: &str = "own";

/// The descriptor name of a socket of systemd.
pub const FDNAME_ACTIVATED: &str = "stsd";

/// Returns all files that the daemon creates in the directory of its socket.
#[must_use]
pub fn runtime_files(socket: &Path) -> Vec<PathBuf> {
    let names = [
        HTTP_SOCKET_FILE,
        MASTER_SECRET_FILE,
        OLD_TOKEN_FILE,
        SESSION_FILE,
    ];
    let beside = names.map(|it| socket.with_file_name(it));
    [socket.to_owned()].into_iter().chain(beside).collect()
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
