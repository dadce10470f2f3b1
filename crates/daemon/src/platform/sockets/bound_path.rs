//! The path of a socket that this process has bound.

use std::{
    fs, io,
    os::unix::{fs::MetadataExt as _, net::UnixListener as StdUnixListener},
    path::{Path, PathBuf},
};

use nix::unistd::getpid;

use super::{
    SocketScope,
    bind::{credentials, probe_connect},
};

/// The path of a socket that this process has bound. The drop removes the socket.
#[derive(Debug)]
pub struct BoundPath {
    path: PathBuf,
    scope: SocketScope,
    device: u64,
    inode: u64,
}

impl BoundPath {
    pub(super) fn at(path: &Path, scope: SocketScope) -> io::Result<Self> {
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
    pub(super) fn of(listener: &StdUnixListener, scope: SocketScope) -> Option<Self> {
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

/// Returns `true` if this process listens at a path.
fn listens_here(path: &Path) -> bool {
    let connected = probe_connect(path).ok();
    let credentials = connected.and_then(|it| credentials(&it));
    credentials.is_some_and(|it| it.pid() == getpid().as_raw())
}
