//! The upgrade without systemd (SIGUSR2): the process executes the new program and keeps its process
//! id, its listening sockets and its sessions.

use std::{
    env,
    io::{self, ErrorKind, Read as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd, RawFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd::close,
};
use tokio_util::sync::CancellationToken;

use crate::{
    platform::systemd::NotifySocket,
    runtime::{child_process, children, trust, trust::TrustError},
};

/// The first number of an inherited descriptor: the one after standard error, because the limit of
/// open files may be low.
const MIN_INHERITED_FD: RawFd = 3;

/// Interval between two checks for the exit of the new program.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Maximum number of checks: 10 s in all.
const POLL_ATTEMPTS: u32 = 500;

/// Maximum length of the program's output in an error.
const MAX_OUTPUT_BYTES: u64 = 64 * 1024;

/// Maximum number of attempts to duplicate descriptors side by side.
const MAX_DUP_ATTEMPTS: usize = 100;

/// The path and the arguments of this program, as they were at start. An upgrade executes the file
/// that is at the path then.
#[derive(Debug, Clone)]
pub struct UpgradeTarget {
    /// The path; `None` without `/proc`, where only an upgrade fails.
    program: Option<PathBuf>,
    arguments: Vec<std::ffi::OsString>,
}

impl UpgradeTarget {
    /// Returns the path and the arguments of this process.
    #[must_use]
    pub fn find() -> Self {
        Self {
            program: env::current_exe().ok(),
            arguments: env::args_os().skip(1).collect(),
        }
    }

    fn program(&self) -> io::Result<&Path> {
        let unknown = || {
            io::Error::new(
                ErrorKind::NotFound,
                "the path of this program is unknown, because /proc/self/exe cannot be read (hint: \
                 mount /proc, or stop stsd and start it again)",
            )
        };
        self.program.as_deref().ok_or_else(unknown)
    }

    /// Runs the program with `--check`, for 10 s at most: a program that does not start or refuses the
    /// configuration would serve no caller. Blocks the thread until the program has ended, or `stop`.
    ///
    /// # Errors
    /// The output of the program, or a failed system call.
    pub fn check(&self, stop: &CancellationToken) -> io::Result<()> {
        let program = self.program()?;
        trust::check_program(program.as_os_str()).map_err(|error| match error {
            TrustError::Io(error) => error,
            TrustError::Loose(loose) => {
                let program = program.display();
                io::Error::other(format!("{program} {loose} (hint: {})", loose.hint()))
            }
        })?;
        let (mut reader, writer) = io::pipe()?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut command = Command::new(program);
        command.args(&self.arguments).arg("--check");
        command.stdin(Stdio::null()).stdout(writer.try_clone()?);
        let mut child = children::spawn(command.stderr(writer))?;
        // Closes this process's write ends of the pipe.
        drop(command);
        let mut output = Vec::new();
        let waited = child_process::wait_for_exit(&mut child, POLL_ATTEMPTS, POLL_INTERVAL, || {
            if stop.is_cancelled() {
                return Err(io::Error::other("stsd was stopped during the check"));
            }
            // A child of the program may outlive it with the pipe open, so that the pipe is not
            // read to its end.
            match reader
                .by_ref()
                .take(MAX_OUTPUT_BYTES)
                .read_to_end(&mut output)
            {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => output.truncate(MAX_OUTPUT_BYTES as usize),
            }
            Ok(())
        });
        let status = match waited {
            Ok(Some(status)) => status,
            unfinished => {
                child.kill()?;
                child_process::wait_for_exit(&mut child, POLL_ATTEMPTS, POLL_INTERVAL, || Ok(()))?;
                let limit = "the new program with --check did not end within 10 s";
                return Err(unfinished.err().unwrap_or_else(|| io::Error::other(limit)));
            }
        };
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(
            match String::from_utf8_lossy(&output).trim() {
                "" => format!("the new program with --check ended with {status}, without a reason"),
                output => output.to_owned(),
            },
        ))
    }

    /// Executes the program. Returns only on failure.
    pub fn exec(&self, sockets: &[(OwnedFd, &str)], sessions: Option<&OwnedFd>) -> io::Error {
        match self.try_exec(sockets, sessions) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn try_exec(
        &self,
        sockets: &[(OwnedFd, &str)],
        sessions: Option<&OwnedFd>,
    ) -> io::Result<std::convert::Infallible> {
        let sockets = sockets.iter().map(|(fd, name)| (fd.as_fd(), *name));
        let sessions = sessions
            .iter()
            .map(|fd| (fd.as_fd(), NotifySocket::INHERITED_SESSIONS));
        let (descriptors, names): (Vec<_>, Vec<_>) = sockets.chain(sessions).unzip();
        let first = dup_for_exec(&descriptors)?;
        let mut command = Command::new(self.program()?);
        command
            .args(&self.arguments)
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDS_FIRST_FD", first.to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env("LISTEN_PID", std::process::id().to_string());
        Err(command.exec())
    }
}

/// Duplicates descriptors to consecutive numbers without `FD_CLOEXEC`; returns the first number.
fn dup_for_exec(descriptors: &[BorrowedFd<'_>]) -> io::Result<RawFd> {
    let mut first = MIN_INHERITED_FD;
    for _ in 0..MAX_DUP_ATTEMPTS {
        let mut copies = Vec::new();
        for descriptor in descriptors {
            let wanted = first + copies.len() as RawFd;
            copies.push(fcntl(descriptor, FcntlArg::F_DUPFD(wanted))?);
        }
        if (first..).zip(&copies).all(|(wanted, copy)| wanted == *copy) {
            return Ok(first);
        }
        // A number was in use; the numbers after the last copy are free.
        first = copies.iter().copied().max().unwrap_or(first) + 1;
        for copy in copies {
            let _ = close(copy);
        }
    }
    Err(io::Error::other(
        "no consecutive free numbers for the descriptors of the new program",
    ))
}
