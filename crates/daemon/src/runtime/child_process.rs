//! Commands of the configuration, each in a process group of its own and with a time limit. Their
//! stderr is discarded, and so is the stdout of `run`: a command may print secrets.

use std::{
    convert::Infallible,
    ffi::OsString,
    future::Future,
    io::{self, PipeReader},
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::{
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use tokio::{
    net::unix::pipe,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use zeroize::Zeroizing;

/// Interval between checks whether a command has exited.
const EXIT_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Number of checks whether a killed command has exited.
const KILL_POLL_ATTEMPTS: u32 = 100;

/// Interval between checks whether a killed command has exited.
const KILL_POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Timeout for the rest of the output of a command that has exited.
const FINAL_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// The environment of a command.
pub type Environment = Vec<(OsString, OsString)>;

/// The failure of a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The command could not be started or watched.
    #[error("the command does not start: {0}")]
    Start(#[from] io::Error),
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

/// A running command. The command and its process group are killed when this is dropped.
struct Running {
    child: Child,
    /// The process group was killed and the command was waited for.
    is_reaped: bool,
}

/// Runs a command for `limit` at most, and discards its output.
///
/// # Errors
/// [`CommandError`]; no process of the process group runs any more.
pub(crate) async fn run(mut command: Command, limit: Duration) -> Result<(), CommandError> {
    let (stderr, writer) = io::pipe()?;
    // A pipe, not /dev/null: the daemon's filesystem sandbox forbids to open that for writing.
    command.stdout(writer.try_clone()?).stderr(writer);
    run_to_exit(command, limit, stderr, std::future::pending()).await
}

/// Runs a command for `limit` at most, and returns its output of at most `max_bytes` bytes.
///
/// # Errors
/// [`CommandError`]; no process of the process group runs any more.
pub(crate) async fn read(
    mut command: Command,
    limit: Duration,
    max_bytes: usize,
) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let (stderr, writer) = io::pipe()?;
    let (reader, output) = io::pipe()?;
    command.stdout(output).stderr(writer);
    let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    // Large enough from the start: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(max_bytes + 1));
    let reading = async {
        read_output(&output, &mut text, max_bytes).await?;
        std::future::pending().await
    };
    run_to_exit(command, limit, stderr, reading).await?;
    // The rest of the output. A process that has left the group may hold the pipe open.
    match timeout(
        FINAL_READ_TIMEOUT,
        read_output(&output, &mut text, max_bytes),
    )
    .await
    {
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) | Err(_) => Ok(text),
    }
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
        let status = child.try_wait()?;
        after_poll()?;
        if status.is_some() {
            return Ok(status);
        }
        thread::sleep(pause);
    }
    Ok(None)
}

/// Runs a command to its end, and polls `reading` meanwhile.
async fn run_to_exit(
    mut command: Command,
    limit: Duration,
    stderr: PipeReader,
    reading: impl Future<Output = Result<Infallible, CommandError>>,
) -> Result<(), CommandError> {
    command.stdin(Stdio::null());
    command.process_group(0).current_dir("/");
    // On a thread of its own, because the program may be on a slow disk. The command is moved,
    // so that the daemon's copies of the write ends are closed.
    let start = move || {
        let child = command.spawn()?;
        let is_reaped = false;
        io::Result::Ok(Running { child, is_reaped })
    };
    let mut running = spawn_blocking(start).await.map_err(io::Error::other)??;
    tokio::select! {
        exited = running.exited() => exited?,
        never = discard(stderr) => match never? {},
        never = reading => match never? {},
        () = sleep(limit) => return Err(CommandError::TimedOut(limit)),
    }
    match running.kill_and_reap()? {
        status if status.success() => Ok(()),
        status => Err(CommandError::Failed(status)),
    }
}

/// Reads and discards the output of a command, which would block on a full pipe. A pause after
/// each read bounds the processor time.
async fn discard(reader: PipeReader) -> io::Result<Infallible> {
    let receiver = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        receiver.readable().await?;
        match receiver.try_read(&mut buffer) {
            // All write ends are closed.
            Ok(0) => std::future::pending().await,
            Ok(_) => sleep(Duration::from_millis(1)).await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Appends the output of a command to `text`, until the end of the output.
async fn read_output(
    output: &pipe::Receiver,
    text: &mut Vec<u8>,
    max_bytes: usize,
) -> Result<(), CommandError> {
    loop {
        output.readable().await?;
        // Never more than the capacity of `text`, which must not be reallocated.
        let mut chunk = Zeroizing::new([0; 4 * 1024]);
        let max_read = chunk.len().min(max_bytes + 1 - text.len());
        match output.try_read(&mut chunk[..max_read]) {
            Ok(0) => return Ok(()),
            Ok(count) => text.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if text.len() > max_bytes {
            return Err(CommandError::TooMuch(max_bytes));
        }
    }
}

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits for the exit of the command without reaping it.
    async fn exited(&self) -> io::Result<()> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(self.pid()), flags)? == WaitStatus::StillAlive {
            sleep(EXIT_POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Kills the rest of the process group, and reaps its leader. The kernel does not reuse the
    /// number of the group before that.
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
        status.ok_or_else(|| io::Error::other("the command was killed and has not exited"))
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
