//! The check of the server: a process of another user that listens at the daemon's path gets no
//! request, and its credentials are not used.

use std::{env, os::fd::AsFd, path::Path};

use nix::{sys::stat::stat, unistd::geteuid};

use super::SYSTEM_SOCKET;
use crate::error::{Error, broken};

/// The variable with the number of a further user whose server is accepted.
const SERVER_UID_VARIABLE: &str = "STSD_SERVER_UID";

/// Checks the user of the process that called listen(2): this user, root, the owner of the system
/// daemon's directory at the system daemon's socket, or the user of `STSD_SERVER_UID`.
///
/// # Errors
/// [`Error::ForeignServer`].
pub(crate) fn check_server(stream: &impl AsFd, socket: &Path) -> Result<(), Error> {
    let uid = server_uid(stream).map_err(|error| broken(error.into()))?;
    // Each further condition costs a system call or more.
    if uid == 0 || uid == geteuid().as_raw() || is_system_daemon(uid, socket) || is_named(uid) {
        return Ok(());
    }
    Err(Error::ForeignServer {
        socket: socket.to_owned(),
        uid,
        is_variable_unusable: is_variable_unusable(),
    })
}

/// Returns the user of the process that called listen(2).
#[cfg(not(target_os = "macos"))]
fn server_uid(stream: &impl AsFd) -> nix::Result<u32> {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

    // Not by rustix: its type excludes the process id 0, which a server in another PID namespace has.
    Ok(getsockopt(stream, PeerCredentials)?.uid())
}

/// Returns the user of the process that called listen(2), getpeereid(3).
#[cfg(target_os = "macos")]
fn server_uid(stream: &impl AsFd) -> nix::Result<u32> {
    Ok(nix::unistd::getpeereid(stream)?.0.as_raw())
}

/// Returns `true` for the owner of `/run/stsd` at the socket in it: only root makes directories there.
fn is_system_daemon(uid: u32, socket: &Path) -> bool {
    let system = Path::new(SYSTEM_SOCKET);
    let directory = system.parent().unwrap_or(system);
    socket == system && stat(directory).is_ok_and(|it| it.st_uid == uid)
}

fn is_named(uid: u32) -> bool {
    let named = env::var(SERVER_UID_VARIABLE).ok();
    named.is_some_and(|it| it.parse() == Ok(uid))
}

/// Returns `true` if the variable is set and is no number of a user.
fn is_variable_unusable() -> bool {
    let named = env::var_os(SERVER_UID_VARIABLE);
    named.is_some_and(|it| it.to_str().is_none_or(|it| it.parse::<u32>().is_err()))
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::net::{UnixListener, UnixStream},
        path::Path,
    };

    use super::{check_server, is_system_daemon};

    #[test]
    fn server_of_this_user_is_accepted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        check_server(&UnixStream::connect(&path).unwrap(), &path).unwrap();
    }

    #[test]
    fn owner_of_another_directory_is_no_system_daemon() {
        assert!(!is_system_daemon(
            0,
            Path::new("/run/user/0/stsd/stsd.sock")
        ));
        assert!(!is_system_daemon(
            u32::MAX,
            Path::new("/run/stsd/stsd.sock")
        ));
    }
}
