//! Decides how a new program takes our place without systemd: the same process, its
//! listening sockets and its sessions, in a new image (SIGUSR2).

use std::{
    env,
    io::{self, ErrorKind, Read as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd, RawFd},
        unix::process::CommandExt as _,
    },
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd::close,
};

use crate::{platform::systemd::NotifySocket, runtime::child_process};

/// Where room for the inherited descriptors is looked for: after standard error, because few files
/// may be open.
const MIN_INHERITED_FD: RawFd = 3;

/// How long a pause there is between two looks whether a program that is tried has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How many looks it is given: ten seconds.
const POLL_ATTEMPTS: u32 = 500;

/// How much of what it says is shown, in bytes.
const MAX_OUTPUT_BYTES: u64 = 64 * 1024;

/// How often room for them is looked for.
const MAX_DUP_ATTEMPTS: usize = 100;

/// The program that will take our place, as it was found when we started: its path, for
/// what stands there then.
#[derive(Debug, Clone)]
pub struct UpgradeTarget {
    program: PathBuf,
    arguments: Vec<std::ffi::OsString>,
}

impl UpgradeTarget {
    /// Finds out what we are.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn find() -> io::Result<Self> {
        Ok(Self {
            program: env::current_exe()?,
            arguments: env::args_os().skip(1).collect(),
        })
    }

    /// Tries whether the program runs and accepts the configuration, within ten seconds:
    /// nobody is served by one that does not. Blocks.
    ///
    /// # Errors
    /// What it said.
    pub fn check(&self) -> io::Result<()> {
        let (mut reader, writer) = io::pipe()?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg("--check");
        // Not to /dev/null: Landlock has us write nowhere.
        command.stdin(Stdio::null()).stdout(writer.try_clone()?);
        let mut child = command.stderr(writer).spawn()?;
        // Our ends of the pipe.
        drop(command);
        let mut output = Vec::new();
        let status =
            child_process::wait_for_exit(&mut child, POLL_ATTEMPTS, POLL_INTERVAL, || {
                // What it has started may go on and hold the pipe, which is not read to its end.
                match reader
                    .by_ref()
                    .take(MAX_OUTPUT_BYTES)
                    .read_to_end(&mut output)
                {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                    _ => output.truncate(MAX_OUTPUT_BYTES as usize),
                }
                Ok(())
            })?;
        let Some(status) = status else {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other("it does not end"));
        };
        if status.success() {
            return Ok(());
        }
        let output = String::from_utf8_lossy(&output);
        Err(io::Error::other(output.trim().to_owned()))
    }

    /// Becomes the program. Returns only when that fails.
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
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDS_FIRST_FD", first.to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env("LISTEN_PID", std::process::id().to_string());
        Err(command.exec())
    }
}

/// Makes copies that the next program gets, side by side; returns the first's number.
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
        // One of the numbers was taken; beyond the last copy there is room.
        first = copies.iter().copied().max().unwrap_or(first) + 1;
        for copy in copies {
            let _ = close(copy);
        }
    }
    Err(io::Error::other(
        "no room for descriptors to inherit side by side",
    ))
}
