//! Asks the kernel for a peer's supplementary groups. The one file of the daemon with an
//! unsafe call.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use nix::{errno::Errno, libc};

/// What nearly every process has room in.
const USUAL: usize = 32;

/// What the kernel lets a process have (`NGROUPS_MAX`).
const MOST: usize = 65_536;

/// Returns the groups the peer of a Unix socket had when it connected. `/proc` would tell
/// those it has now, and a peer may connect, then start a set-group-id program.
pub(super) fn of(socket: BorrowedFd<'_>) -> io::Result<Box<[u32]>> {
    match read(socket, USUAL) {
        Err(Errno::ERANGE) => read(socket, MOST),
        groups => groups,
    }
    .map_err(io::Error::from)
}

fn read(socket: BorrowedFd<'_>, room: usize) -> Result<Box<[u32]>, Errno> {
    let mut groups: Vec<libc::gid_t> = vec![0; room];
    let size = size_of::<libc::gid_t>();
    let mut length = libc::socklen_t::try_from(room * size).map_err(|_| Errno::EINVAL)?;
    #[expect(
        unsafe_code,
        reason = "no library names SO_PEERGROUPS. The kernel writes at most `length` bytes \
                  to `groups`, which is that long, and says in `length` how many they are"
    )]
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    groups.truncate(length as usize / size);
    Ok(groups.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use std::os::{fd::AsFd as _, unix::net::UnixStream};

    use nix::unistd::getgroups;

    use super::{MOST, of, read};

    #[test]
    fn a_peers_groups_are_those_of_its_process() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let own: Vec<u32> = getgroups().unwrap().iter().map(|it| it.as_raw()).collect();
        assert_eq!(*of(ours.as_fd()).unwrap(), own);
        assert_eq!(*read(ours.as_fd(), MOST).unwrap(), own);
    }

    #[test]
    fn what_is_no_unix_socket_has_no_groups() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(of(file.as_fd()).is_err());
    }
}
