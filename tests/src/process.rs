//! A program that does not outlive its test, with its log in a file.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::process::{Pid as ChildPid, PidfdFlags, pidfd_open};

/// The longest wait for the end of a program that was told to end: many times what any of them
/// needs on a quiet machine.
const END_BOUND: Duration = Duration::from_secs(60);

/// A running program.
pub struct Process(Child);

impl Process {
    /// Starts a program whose stderr goes to a file.
    #[must_use]
    pub fn start(mut command: Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        Self(command.stderr(log).spawn().unwrap())
    }

    /// Returns the process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Reads the first line of its stdout.
    pub fn first_line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.0.stdout.as_mut().expect("stdout was piped");
        BufReader::new(stdout).read_line(&mut line).unwrap();
        line
    }

    /// Returns its stdin and stdout, which must be piped and untouched so far.
    pub fn conversation(&mut self) -> (ChildStdin, BufReader<ChildStdout>) {
        let stdin = self.0.stdin.take().expect("stdin was piped");
        let stdout = self.0.stdout.take().expect("stdout was piped");
        (stdin, BufReader::new(stdout))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }

    /// Waits for its end, for a minute at the most; returns the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let status = exit(&mut self.0, END_BOUND);
        let status = status.unwrap_or_else(|| panic!("process {} did not end", self.0.id()));
        status.code()
    }

    /// Returns what it has open, as the kernel names it: `socket:[INODE]`, a path.
    ///
    /// # Panics
    /// When that may not be seen: the daemon shows it to root alone.
    #[must_use]
    pub fn descriptors(&self) -> Vec<PathBuf> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap();
        // One that was closed since has no name any more.
        open.flatten()
            .filter_map(|it| fs::read_link(it.path()).ok())
            .collect()
    }

    /// Returns how many connections to a port of another program it has open, in whatever
    /// state.
    ///
    /// # Panics
    /// As [`descriptors`](Self::descriptors).
    #[must_use]
    pub fn connections_to(&self, port: u16) -> usize {
        let open: BTreeSet<_> = self.descriptors().into_iter().collect();
        let sockets = fs::read_to_string(format!("/proc/{}/net/tcp", self.id())).unwrap();
        let port = format!(":{port:04X}");
        // sl local_address rem_address st queues timer retransmits uid timeout inode
        let its = |line: &&str| {
            let mut fields = line.split_ascii_whitespace();
            let is_to_it = fields.nth(2).is_some_and(|it| it.ends_with(&port));
            let inode = fields.nth(6).unwrap_or_default();
            is_to_it && open.contains(Path::new(&format!("socket:[{inode}]")))
        };
        sockets.lines().filter(its).count()
    }

    /// Tells whether it is still running.
    pub fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

/// Returns what a descriptor of this program is, as [`Process::descriptors`] names it.
///
/// # Panics
/// When the system cannot tell.
#[must_use]
pub fn descriptor(of: BorrowedFd<'_>) -> PathBuf {
    fs::read_link(format!("/proc/self/fd/{}", of.as_raw_fd())).unwrap()
}

/// Waits for the exit of a child, for `bound` at the most; returns nothing if it still runs.
///
/// # Panics
/// When the system cannot tell.
#[must_use]
pub fn exit(child: &mut Child, bound: Duration) -> Option<ExitStatus> {
    // One that was collected before has no pidfd any more.
    if let Some(status) = child.try_wait().unwrap() {
        return Some(status);
    }
    let pidfd = pidfd_open(ChildPid::from_child(child), PidfdFlags::empty()).unwrap();
    let mut watched = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut watched, PollTimeout::try_from(bound).unwrap()).unwrap();
    child.try_wait().unwrap()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
