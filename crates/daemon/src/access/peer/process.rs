//! Decides what is known of the process behind a peer's number, and that it is that process.
//!
//! The kernel tells the number of the process that connected; when that has ended, another
//! may have got it. A pidfd (Linux 6.5) stays with the process: if it still lives after we
//! have looked, it was the one we looked at. Without a pidfd there is a comparison that can
//! be won by a process of the same user alone; see [`PidBinding::StartTime`].

use std::{
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat, readlinkat},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        socket::{getsockopt, sockopt::PeerPidfd},
        stat::Mode,
    },
};
use tracing::debug;

use super::{Peer, Units};
use crate::runtime::clock::BootTime;

/// More than `/proc` says of a process in one file; a cgroup's path has at most 4 KiB.
const MOST: u64 = 64 * 1024;

/// `/proc` counts in hundredths of a second, whatever the kernel counts in (`USER_HZ`).
const TICK_MILLIS: u64 = 10;

/// What is known of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// The systemd units it belongs to.
    pub units: Units,
    /// The program it runs, where we may see that. A hint for a log and nothing more: the
    /// peer chooses it.
    pub executable: Option<Box<str>>,
    /// What makes it the process that connected; nothing is known without.
    pub binding: Option<PidBinding>,
}

/// What ties a process to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PidBinding {
    /// The kernel's handle of the very process.
    Pidfd,
    /// The weaker one, before Linux 6.5: the process with that number has the peer's user
    /// and began before the connection was accepted. Whoever connected, ended, and had the
    /// number taken by another process of the same user before that, is taken for it.
    StartTime,
}

impl PidBinding {
    /// Returns its name for a log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pidfd => "pidfd",
            Self::StartTime => "start time",
        }
    }
}

/// Looks at the process behind a peer; none when it is not certain which that is.
pub(super) fn inspect(peer: &Peer, socket: BorrowedFd<'_>) -> Option<Process> {
    let pid = peer.pid?;
    let looked = match getsockopt(&socket, PeerPidfd) {
        Ok(pidfd) => by_pidfd(pid, &pidfd),
        Err(Errno::ENOPROTOOPT) => by_start_time(pid, peer.uid, peer.accepted),
        // Until Linux 6.16 a process that has ended has no pidfd any more.
        Err(error) => Err(error.into()),
    };
    looked
        .map_err(|error| debug!(%peer, "nothing is known of its process: {error}"))
        .ok()
}

fn by_pidfd(pid: i32, pidfd: &OwnedFd) -> io::Result<Process> {
    let process = read(&directory(pid)?, PidBinding::Pidfd)?;
    // A number is not given away before its process has ended, so this has to come last.
    // Polling rather than a signal: no rule about signals can come between.
    let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    if poll(&mut ended, PollTimeout::ZERO)? > 0 {
        return Err(Errno::ESRCH.into());
    }
    Ok(process)
}

fn by_start_time(pid: i32, uid: u32, accepted: BootTime) -> io::Result<Process> {
    // An open directory of /proc stays with its process: all is read of the same one.
    let directory = directory(pid)?;
    let status = text(&directory, "status")?;
    let stat = text(&directory, "stat")?;
    if effective_uid(&status) != Some(uid) || start(&stat).is_none_or(|began| began > accepted) {
        return Err(Errno::ESRCH.into());
    }
    read(&directory, PidBinding::StartTime)
}

fn read(directory: &OwnedFd, binding: PidBinding) -> io::Result<Process> {
    let executable = readlinkat(directory, "exe").ok();
    let shown = executable.map(|path| String::from_utf8_lossy(path.as_bytes()).into());
    Ok(Process {
        units: Units::of(&text(directory, "cgroup")?),
        executable: shown,
        binding: Some(binding),
    })
}

fn directory(pid: i32) -> io::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let path = format!("/proc/{pid}");
    Ok(open(path.as_str(), flags, Mode::empty())?)
}

fn text(directory: &OwnedFd, name: &str) -> io::Result<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let file = File::from(openat(directory, name, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    // A process chooses its name, which stands in these files as it is.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads the second number behind `Uid:` in `/proc/PID/status`. The name stands before it,
/// with its newlines escaped.
fn effective_uid(status: &str) -> Option<u32> {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Reads when a process began: field 22 of `/proc/PID/stat`. Field 2 is its name in
/// brackets and may hold anything, brackets included; no later field holds one.
fn start(stat: &str) -> Option<BootTime> {
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks: u64 = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(BootTime::from_millis(ticks.checked_mul(TICK_MILLIS)?))
}

#[cfg(test)]
mod tests {
    use std::process::{self, Child, Command, Stdio};

    use nix::unistd::getuid;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;
    use crate::runtime::clock::{Clock as _, SystemClock};

    fn child() -> (Child, OwnedFd) {
        let mut command = Command::new("cat");
        let child = command.stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        (child, pidfd)
    }

    #[test]
    fn a_number_that_another_process_has_got_says_nothing_about_the_peer() {
        let (mut peer, pidfd) = child();
        // The kernel would have to give us its number; ours stands for it.
        let heir = process::id().cast_signed();
        let known = by_pidfd(heir, &pidfd).unwrap();
        assert_eq!(known.binding, Some(PidBinding::Pidfd), "while it lives");
        assert!(known.executable.is_some(), "{known:?}");
        peer.kill().unwrap();
        peer.wait().unwrap();
        assert_eq!(
            by_pidfd(heir, &pidfd).unwrap_err().raw_os_error(),
            Some(Errno::ESRCH as i32)
        );
    }

    #[test]
    fn without_a_pidfd_a_process_of_another_user_or_a_younger_one_is_not_the_peer() {
        let (before, uid) = (SystemClock::default().boot(), getuid().as_raw());
        // The kernel's count of hundredths must have moved on.
        std::thread::sleep(std::time::Duration::from_millis(3 * TICK_MILLIS));
        let (mut peer, _) = child();
        let pid = peer.id().cast_signed();
        let check = |what: &str, uid, accepted, expected| {
            let known = by_start_time(pid, uid, accepted).ok();
            assert_eq!(known.and_then(|it| it.binding), expected, "{what}");
        };
        let now = SystemClock::default().boot();
        check("the peer", uid, now, Some(PidBinding::StartTime));
        check("another user", uid + 1, now, None);
        check("younger than the connection", uid, before, None);
        drop(peer.stdin.take());
        peer.wait().unwrap();
        check("nobody", uid, now, None);
    }

    #[test]
    fn a_process_cannot_lie_by_its_name() {
        let fields = |start: &str| format!("S{} {start} 9 9", " 1".repeat(18));
        let check = |stat: &str, expected: Option<u64>| {
            let millis = start(stat).map(BootTime::as_millis);
            assert_eq!(millis, expected, "{stat}");
        };
        check(&format!("7 (cat) {}", fields("350")), Some(3500));
        let named_to_lie = format!("7 (x) {} (y) {}", fields("1"), fields("350"));
        check(&named_to_lie, Some(3500));
        check("7 (cat", None);
        check("7 (cat) S 1", None);
        let status = "Name:\tx\\nUid: 0 0\nUmask:\t0022\nUid:\t1000\t1001\t1002\t1003\n";
        assert_eq!(effective_uid(status), Some(1001));
    }
}
