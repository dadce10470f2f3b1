//! The process of a peer, and the proof that the process number still belongs to it.
//!
//! The kernel reports the number of the process that connected; after the end of that process
//! another may have the number. A pidfd (Linux 6.5) refers to the process itself: if the
//! process still lives after `/proc/PID` was read, `/proc/PID` was its directory. Without a
//! pidfd, user and start time are compared, which only a process of the same user can pass;
//! see [`PidBinding::StartTime`].

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

/// Maximum length of a file of `/proc/PID` in bytes; the path of a cgroup has at most 4 KiB.
const MAX_PROC_FILE_BYTES: u64 = 64 * 1024;

/// Unit of the times in `/proc/PID/stat` (`USER_HZ`), which does not depend on the kernel's own
/// tick.
const TICK_MILLIS: u64 = 10;

/// The properties of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// The systemd units of the process.
    pub units: Units,
    /// The path of its program; `None` if the daemon may not read it. Only a hint for the log,
    /// because the peer chooses its program.
    pub executable: Option<Box<str>>,
    /// The proof that this process has connected; `None` if nothing is known of the process.
    pub binding: Option<PidBinding>,
}

/// The proof that a process number belongs to the process that connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PidBinding {
    /// The pidfd of the process.
    Pidfd,
    /// The weaker proof, before Linux 6.5: the process with that number has the user of the
    /// peer and started before the connection was accepted. If the peer ended before that, and
    /// another process of the same user received its number, that process is reported instead.
    StartTime,
}

impl PidBinding {
    /// Returns the name of the proof for the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pidfd => "pidfd",
            Self::StartTime => "start time",
        }
    }
}

/// Returns the process of a peer; `None` without a proof that its number still belongs to it.
pub(super) fn inspect(peer: &Peer, socket: BorrowedFd<'_>) -> Option<Process> {
    let pid = peer.pid?;
    let inspected = match getsockopt(&socket, PeerPidfd) {
        Ok(pidfd) => by_pidfd(pid, &pidfd),
        Err(Errno::ENOPROTOOPT) => by_start_time(pid, peer.uid, peer.accepted),
        // Until Linux 6.16 the kernel has no pidfd for a process that has ended.
        Err(error) => Err(error.into()),
    };
    inspected
        .map_err(|error| debug!(%peer, "cannot inspect the process of the peer: {error}"))
        .ok()
}

fn by_pidfd(pid: i32, pidfd: &OwnedFd) -> io::Result<Process> {
    let process = read(&directory(pid)?, PidBinding::Pidfd)?;
    // After the reads: the kernel reuses a number only after its process has ended. A poll works
    // where a security policy forbids the null signal.
    let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    if poll(&mut ended, PollTimeout::ZERO)? > 0 {
        return Err(Errno::ESRCH.into());
    }
    Ok(process)
}

fn by_start_time(pid: i32, uid: u32, accepted: BootTime) -> io::Result<Process> {
    // An open directory of /proc refers to one process: all files are of that process.
    let directory = directory(pid)?;
    let status = text(&directory, "status")?;
    let stat = text(&directory, "stat")?;
    let is_late = start_time(&stat).is_none_or(|started| started > accepted);
    if effective_uid(&status) != Some(uid) || is_late {
        return Err(Errno::ESRCH.into());
    }
    read(&directory, PidBinding::StartTime)
}

fn read(directory: &OwnedFd, binding: PidBinding) -> io::Result<Process> {
    let executable = readlinkat(directory, "exe").ok();
    Ok(Process {
        units: Units::of(&text(directory, "cgroup")?),
        executable: executable.map(|path| String::from_utf8_lossy(path.as_bytes()).into()),
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
    file.take(MAX_PROC_FILE_BYTES).read_to_end(&mut bytes)?;
    // These files contain the name of the process, which is arbitrary bytes.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the effective user from `/proc/PID/status`: the second number of `Uid:`. The name of
/// the process precedes that line, with its newlines escaped.
fn effective_uid(status: &str) -> Option<u32> {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Returns the start time of a process: field 22 of `/proc/PID/stat`. Field 2 is the name of the
/// process in brackets, which may contain brackets; no later field contains one.
fn start_time(stat: &str) -> Option<BootTime> {
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
    fn pid_reused_by_another_process_is_not_inspected() {
        let (mut peer, pidfd) = child();
        // The number of the test stands for a number that the kernel has reused.
        let reused_pid = process::id().cast_signed();
        let inspected = by_pidfd(reused_pid, &pidfd).unwrap();
        assert_eq!(inspected.binding, Some(PidBinding::Pidfd), "peer alive");
        assert!(inspected.executable.is_some(), "{inspected:?}");
        peer.kill().unwrap();
        peer.wait().unwrap();
        assert_eq!(
            by_pidfd(reused_pid, &pidfd).unwrap_err().raw_os_error(),
            Some(Errno::ESRCH as i32)
        );
    }

    #[test]
    fn start_time_of_another_user_or_a_later_process_does_not_match() {
        let (before, uid) = (SystemClock::default().boot(), getuid().as_raw());
        // Start times have a resolution of 10 ms.
        std::thread::sleep(std::time::Duration::from_millis(3 * TICK_MILLIS));
        let (mut peer, _) = child();
        let pid = peer.id().cast_signed();
        let check = |case: &str, uid, accepted, expected| {
            let inspected = by_start_time(pid, uid, accepted).ok();
            assert_eq!(inspected.and_then(|it| it.binding), expected, "{case}");
        };
        let now = SystemClock::default().boot();
        check("the peer", uid, now, Some(PidBinding::StartTime));
        check("another user", uid + 1, now, None);
        check("younger than the connection", uid, before, None);
        drop(peer.stdin.take());
        peer.wait().unwrap();
        check("the peer has ended", uid, now, None);
    }

    #[test]
    fn proc_files_with_a_crafted_process_name_are_parsed() {
        let fields = |start: &str| format!("S{} {start} 9 9", " 1".repeat(18));
        let check = |stat: &str, expected: Option<u64>| {
            let millis = start_time(stat).map(BootTime::as_millis);
            assert_eq!(millis, expected, "{stat}");
        };
        check(&format!("7 (cat) {}", fields("350")), Some(3500));
        let crafted_name = format!("7 (x) {} (y) {}", fields("1"), fields("350"));
        check(&crafted_name, Some(3500));
        check("7 (cat", None);
        check("7 (cat) S 1", None);
        let status = "Name:\tx\\nUid: 0 0\nUmask:\t0022\nUid:\t1000\t1001\t1002\t1003\n";
        assert_eq!(effective_uid(status), Some(1001));
    }
}
