//! A program that is killed at the end of its test, with its stderr in a file.

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

/// The longest wait for the exit of a program after its signal: many times the time that it takes on
/// an idle machine.
const EXIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A running program.
pub struct Process(Child);

impl Process {
    /// Starts a program whose stderr goes to a file.
    #[must_use]
    pub fn start(mut command: Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        Self(command.stderr(log).spawn().unwrap())
    }

    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Reads the first line of stdout.
    ///
    /// # Panics
    /// When stdout is not piped.
    pub fn first_line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.0.stdout.as_mut().expect("stdout is not piped");
        BufReader::new(stdout).read_line(&mut line).unwrap();
        line
    }

    /// Reads the first lines of stdout, without their ends.
    ///
    /// # Panics
    /// When stdout is not piped, or ends earlier.
    pub fn first_lines(&mut self, count: usize) -> Vec<String> {
        let stdout = self.0.stdout.as_mut().expect("stdout is not piped");
        let lines = BufReader::new(stdout).lines();
        let lines: Vec<_> = lines.take(count).map(Result::unwrap).collect();
        assert_eq!(lines.len(), count, "{lines:?}");
        lines
    }

    /// Takes stdin and stdout.
    ///
    /// # Panics
    /// When one of them is not piped, or was taken before.
    pub fn take_stdio(&mut self) -> (ChildStdin, BufReader<ChildStdout>) {
        let stdin = self.0.stdin.take().expect("stdin is not piped");
        let stdout = self.0.stdout.take().expect("stdout is not piped");
        (stdin, BufReader::new(stdout))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }

    /// Waits up to a minute for the exit; returns the exit code, or `None` after a signal.
    ///
    /// # Panics
    /// When the program does not end.
    pub fn wait(&mut self) -> Option<i32> {
        let status = wait_for_exit(&mut self.0, EXIT_TIMEOUT);
        let status = status.unwrap_or_else(|| panic!("process {} did not end", self.0.id()));
        status.code()
    }

    /// Returns the names of the open descriptors, as the kernel has them: `socket:[INODE]`, a path.
    ///
    /// # Panics
    /// When `/proc` refuses them: those of the daemon are visible to root alone.
    #[must_use]
    pub fn descriptors(&self) -> Vec<PathBuf> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap();
        // A descriptor that was closed in between has no name any more.
        open.flatten()
            .filter_map(|it| fs::read_link(it.path()).ok())
            .collect()
    }

    /// Returns the number of open TCP connections to a port, in any state.
    ///
    /// # Panics
    /// As [`descriptors`](Self::descriptors).
    #[must_use]
    pub fn connections_to(&self, port: u16) -> usize {
        let open: BTreeSet<_> = self.descriptors().into_iter().collect();
        let sockets = fs::read_to_string(format!("/proc/{}/net/tcp", self.id())).unwrap();
        let port = format!(":{port:04X}");
        // sl local_address rem_address st queues timer retransmits uid timeout inode
        let is_counted = |line: &&str| {
            let mut fields = line.split_ascii_whitespace();
            let is_to_port = fields.nth(2).is_some_and(|it| it.ends_with(&port));
            let inode = fields.nth(6).unwrap_or_default();
            is_to_port && open.contains(Path::new(&format!("socket:[{inode}]")))
        };
        sockets.lines().filter(is_counted).count()
    }

    /// Returns `true` if the program has not ended.
    ///
    /// # Panics
    /// When the system refuses the status.
    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

/// Returns the name of one of this test's descriptors, in the form of [`Process::descriptors`].
///
/// # Panics
/// When `/proc` cannot be read.
#[must_use]
pub fn descriptor(of: BorrowedFd<'_>) -> PathBuf {
    fs::read_link(format!("/proc/self/fd/{}", of.as_raw_fd())).unwrap()
}

/// Waits for the exit of a child; returns `None` if it still runs after `bound`.
///
/// # Panics
/// When the system refuses the status.
#[must_use]
pub fn wait_for_exit(child: &mut Child, bound: Duration) -> Option<ExitStatus> {
    // A child that was reaped before has no pidfd any more.
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
