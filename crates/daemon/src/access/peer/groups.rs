//! The supplementary groups of a peer, by `SO_PEERGROUPS`. No other file of the daemon has an
//! unsafe call.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use nix::{errno::Errno, libc};

/// Number of groups that nearly every process stays below.
const TYPICAL_GROUPS: usize = 32;

/// Maximum number of groups of a process (`NGROUPS_MAX`).
const MAX_GROUPS: usize = 65_536;

/// Returns the groups that the peer of a Unix socket had when it connected. `/proc` has the
/// present ones, and a peer may start a set-group-id program after it has connected.
pub(super) fn of(socket: BorrowedFd<'_>) -> io::Result<Box<[u32]>> {
    match peer_groups(socket, TYPICAL_GROUPS) {
        Err(Errno::ERANGE) => peer_groups(socket, MAX_GROUPS),
        groups => groups,
    }
    .map_err(io::Error::from)
}

/// Calls `getsockopt` with space for `max_groups` groups.
///
/// # Errors
/// `ERANGE` if the peer has more groups.
fn peer_groups(socket: BorrowedFd<'_>, max_groups: usize) -> Result<Box<[u32]>, Errno> {
    let mut groups: Vec<libc::gid_t> = vec![0; max_groups];
    let size = size_of::<libc::gid_t>();
    let mut length = libc::socklen_t::try_from(max_groups * size).map_err(|_| Errno::EINVAL)?;
    #[expect(
        unsafe_code,
        reason = "no library names SO_PEERGROUPS. The kernel writes at most `length` bytes \
                  to `groups`, which has that length, and stores their number in `length`"
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

    use super::{MAX_GROUPS, of, peer_groups};

    #[test]
    fn peer_groups_are_the_groups_of_its_process() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let own: Vec<u32> = getgroups().unwrap().iter().map(|it| it.as_raw()).collect();
        assert_eq!(*of(ours.as_fd()).unwrap(), own);
        assert_eq!(*peer_groups(ours.as_fd(), MAX_GROUPS).unwrap(), own);
    }

    #[test]
    fn peer_groups_of_a_descriptor_that_is_no_socket_fail() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(of(file.as_fd()).is_err());
    }
}
