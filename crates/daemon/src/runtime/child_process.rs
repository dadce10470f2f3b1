//! Programs of the configuration, each in a process group of its own, with a time limit, a private
//! temporary directory and a Landlock domain that bounds its writes.

use std::{
    ffi::OsString,
    io::{self, PipeReader},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use tokio::{
    sync::oneshot,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use zeroize::Zeroizing;

use super::{
    children,
    landlock::restrict_writes,
    pipe_output::{Keep, PipeOutput},
    temp_dir::TempDir,
    trust::Loose,
};

/// Interval between checks whether a command has exited.
const EXIT_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Number of checks whether a killed command has exited.
const KILL_POLL_ATTEMPTS: u32 = 100;

/// Interval between checks whether a killed command has exited.
const KILL_POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Timeout for the rest of the output of a command that has exited.
const FINAL_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Timeout for the rest of the stderr of a command that has exited, after its output.
const FINAL_STDERR_TIMEOUT: Duration = Duration::from_millis(50);

/// Number of bytes at the end of stderr that are kept.
const STDERR_BYTES: usize = 4 * 1024;

/// The environment of a command.
pub type Environment = Vec<(OsString, OsString)>;

/// The failure of a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The command could not be started or watched.
    #[error("the command does not start: {0}")]
    Start(#[from] io::Error),
    /// Another user could have replaced the program.
    #[error("the command is not run: its program {0}")]
    Untrusted(Box<Loose>),
    /// Another user could redirect a path that the program may write to.
    #[error("the command is not run: the path {path} in writable {1}", path = .0.display())]
    Redirectable(PathBuf, Box<Loose>),
    /// The command has exited with another status than 0.
    #[error("the command failed: {0}")]
    Failed(ExitStatus),
    /// The command was killed after its time limit.
    #[error("the command did not end within {} s and was killed", .0.as_secs())]
    TimedOut(Duration),
    /// The command was killed because its output was too long.
    #[error("the command printed more than {0} bytes and was killed")]
    TooMuch(usize),
}

impl CommandError {
    /// Returns the correction of a path that another user could have replaced.
    pub(crate) fn trust_hint(&self) -> Option<String> {
        match self {
            Self::Untrusted(loose) | Self::Redirectable(_, loose) => Some(loose.hint()),
            _ => None,
        }
    }
}

/// A command that is to be started.
pub(crate) struct Start {
    /// The program with its arguments and its environment.
    pub command: Command,
    /// The paths that the program may write to, besides its temporary directory.
    pub writable: Vec<PathBuf>,
    /// The directories for the temporary directory, in the order of preference.
    pub temp_parents: Vec<PathBuf>,
}

/// The treatment of output beyond its maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// The command is killed.
    Kills,
    /// The output is discarded.
    IsDiscarded,
}

/// The output of a command that has ended.
pub(crate) struct Ended {
    /// The end of the command.
    pub result: Result<(), CommandError>,
    /// The output, up to its maximum.
    pub stdout: Zeroizing<Vec<u8>>,
    /// The output was longer than its maximum, or may be.
    pub is_cut: bool,
    /// The end of stderr.
    pub stderr: Zeroizing<Vec<u8>>,
}

/// A running command. The command and its process group are killed when this is dropped.
struct Running {
    child: Child,
    /// The process group was killed and the command was waited for.
    is_reaped: bool,
}

/// Runs a command for `limit` at most, with an output of `max_bytes`. At the end no process of the
/// process group runs any more.
///
/// # Errors
/// The command does not start, or a system call fails.
pub(crate) async fn run(
    start: Start,
    limit: Duration,
    max_bytes: usize,
    excess: Excess,
) -> io::Result<Ended> {
    let Start {
        mut command,
        mut writable,
        temp_parents,
    } = start;
    let temp_dir = spawn_blocking(move || TempDir::create(&temp_parents));
    let temp_dir = temp_dir.await.map_err(io::Error::other)??;
    command.env("TMPDIR", temp_dir.path());
    writable.push(temp_dir.path().to_owned());

    let (stdout, writer) = io::pipe()?;
    command.stdout(writer);
    let (stderr, writer) = io::pipe()?;
    command.stderr(writer).stdin(Stdio::null());
    command.process_group(0).current_dir("/");
    let running = start_confined(command, writable).await?;

    let ended = watch(running, [stdout, stderr], limit, max_bytes, excess).await;
    // On a blocking thread: the directory may hold many files.
    let removed = spawn_blocking(move || drop(temp_dir)).await;
    removed.map_err(io::Error::other)?;
    ended
}

/// Starts a command under a Landlock domain of its own. A kernel without Landlock confines nothing,
/// as `stsctl doctor` shows.
async fn start_confined(mut command: Command, writable: Vec<PathBuf>) -> io::Result<Running> {
    let (sender, started) = oneshot::channel();
    // A thread for each start, because a restriction of a thread is for ever. The command is moved,
    // so that the daemon's copies of the write ends are closed.
    let start = move || {
        // After the daemon's own restriction, a refusal (E2BIG after 16 upgrades) leaves that one.
        let _ = restrict_writes(&writable);
        let child = children::spawn(&mut command);
        let is_reaped = false;
        // Without a receiver the command is killed here.
        let _ = sender.send(child.map(|child| Running { child, is_reaped }));
    };
    thread::Builder::new()
        .name("stsd-program".to_owned())
        .spawn(start)?;
    started.await.map_err(io::Error::other)?
}

/// Waits for the end of a command, and collects its output meanwhile.
async fn watch(
    mut running: Running,
    [stdout, stderr]: [PipeReader; 2],
    limit: Duration,
    max_bytes: usize,
    excess: Excess,
) -> io::Result<Ended> {
    let mut stdout = PipeOutput::new(stdout, Keep::First(max_bytes))?;
    let mut stderr = PipeOutput::new(stderr, Keep::Last(STDERR_BYTES))?;
    let killed = tokio::select! {
        exited = running.exited() => exited.map(|()| None),
        over = stdout.drain(excess == Excess::Kills) => {
            over.map(|()| Some(CommandError::TooMuch(max_bytes)))
        }
        never = stderr.drain(false) => never.map(|()| None),
        () = sleep(limit) => Ok(Some(CommandError::TimedOut(limit))),
    }?;
    // On a blocking thread: the processes of the group may take a while to end.
    let status = spawn_blocking(move || running.kill_and_reap());
    let status = status.await.map_err(io::Error::other)??;
    // The rest of the output. A process that has left the group may hold the pipes open.
    let rest = timeout(FINAL_READ_TIMEOUT, stdout.read_to_end()).await;
    let is_cut = stdout.is_cut() || rest.is_err();
    rest.unwrap_or(Ok(()))?;
    let rest = timeout(FINAL_STDERR_TIMEOUT, stderr.read_to_end()).await;
    rest.unwrap_or(Ok(()))?;
    let result = match killed {
        Some(error) => Err(error),
        None if stdout.is_cut() && excess == Excess::Kills => Err(CommandError::TooMuch(max_bytes)),
        None if status.success() => Ok(()),
        None => Err(CommandError::Failed(status)),
    };
    Ok(Ended {
        result,
        stdout: stdout.into_bytes(),
        is_cut,
        stderr: stderr.into_bytes(),
    })
}

/// Polls for the exit of a child, `polls` times with a `pause` after each; returns `None` if the
/// child still runs. Calls `after_poll` after each poll, the last one included. Blocks.
///
/// A pidfd would need no pauses, but Linux 5.3.
pub(crate) fn wait_for_exit(
    child: &mut Child,
    polls: u32,
    pause: Duration,
    mut after_poll: impl FnMut() -> io::Result<()>,
) -> io::Result<Option<ExitStatus>> {
    for _ in 0..polls {
        let status = children::try_wait(child)?;
        after_poll()?;
        if status.is_some() {
            return Ok(status);
        }
        thread::sleep(pause);
    }
    Ok(None)
}

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits for the exit of the command without reaping it.
    async fn exited(&self) -> io::Result<()> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        loop {
            match waitid(Id::Pid(self.pid()), flags) {
                Ok(WaitStatus::StillAlive) => sleep(EXIT_POLL_INTERVAL).await,
                // EINVAL: a real-time signal, which nix cannot represent, has ended the command.
                Ok(_) | Err(Errno::EINVAL) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Kills the rest of the process group, reaps its leader, and waits for the others. The kernel
    /// does not reuse the number of the group before that.
    fn kill_and_reap(&mut self) -> io::Result<ExitStatus> {
        self.is_reaped = true;
        let _ = killpg(self.pid(), Signal::SIGKILL);
        // The command may have moved to another group.
        let _ = self.child.kill();
        let status = wait_for_exit(
            &mut self.child,
            KILL_POLL_ATTEMPTS,
            KILL_POLL_INTERVAL,
            || Ok(()),
        )?;
        self.wait_for_group();
        if status.is_none() {
            children::abandon(&self.child);
        }
        status.ok_or_else(|| io::Error::other("the command was killed and has not exited"))
    }

    /// Waits until the process group has no process, or for 200 ms: a process in the kernel may not
    /// end, and an init that reaps nothing keeps zombies.
    fn wait_for_group(&self) {
        for _ in 0..KILL_POLL_ATTEMPTS {
            children::reap_orphans_of(self.pid());
            if killpg(self.pid(), None) == Err(Errno::ESRCH) {
                return;
            }
            thread::sleep(KILL_POLL_INTERVAL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_reaped {
            let _ = self.kill_and_reap();
        }
    }
}

#[cfg(test)]
mod tests;
