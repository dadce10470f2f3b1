//! Decides how a command is run that is not ours: within a time, alone with its process
//! group. What it says on stderr is thrown away, and what it prints too unless it was asked
//! for that: it may have read secrets.

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

/// How often it is looked whether a command has ended.
const EXIT_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How many looks are taken for the exit of a command that was killed, and the pause after each.
const KILL_POLL_ATTEMPTS: u32 = 100;
const KILL_POLL_INTERVAL: Duration = Duration::from_millis(2);

/// How long to wait for the last words of one that has ended.
const FINAL_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// The environment of a command.
pub type Environment = Vec<(OsString, OsString)>;

/// Why a command has not done its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// It could not be started, or not be watched.
    #[error("the command does not start: {0}")]
    Start(#[from] io::Error),
    /// It says so itself.
    #[error("the command failed: {0}")]
    Failed(ExitStatus),
    /// It was killed.
    #[error("the command did not end within {} s and was killed", .0.as_secs())]
    TimedOut(Duration),
    /// It was killed, because it printed without end.
    #[error("the command printed more than {0} bytes and was killed")]
    TooMuch(usize),
}

/// A command that runs; whatever happens, it and its process group do not outlive this.
struct Running {
    child: Child,
    collected: bool,
}

/// Runs a command to its end, for `limit` at the most; nobody hears it.
///
/// # Errors
/// [`CommandError`]; by then nothing of its process group runs any more.
pub(crate) async fn run(mut command: Command, limit: Duration) -> Result<(), CommandError> {
    let (stderr, writer) = io::pipe()?;
    // Not /dev/null for its output: nobody who is confined as we are may open that for writing.
    command.stdout(writer.try_clone()?).stderr(writer);
    run_to_exit(command, limit, stderr, std::future::pending()).await
}

/// Runs a command to its end, for `limit` at the most, and returns what it has printed, which
/// may be `max_bytes` bytes.
///
/// # Errors
/// [`CommandError`]; by then nothing of its process group runs any more.
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
    // What it has printed last; somebody who has left its group may hold the pipe open.
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

/// Waits for the exit of a child by `polls` looks with a `pause` after each; returns nothing if
/// it still runs. Calls `after_poll` after each look, the last one too. Blocks.
///
/// A pidfd would do without the pauses, but needs Linux 5.3.
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

/// Runs a command to its end, while `reading` goes on.
async fn run_to_exit(
    mut command: Command,
    limit: Duration,
    stderr: PipeReader,
    reading: impl Future<Output = Result<Infallible, CommandError>>,
) -> Result<(), CommandError> {
    command.stdin(Stdio::null());
    command.process_group(0).current_dir("/");
    // On a thread of its own, because the program may be on a slow disk; and by value, so
    // that our ends of the pipe are closed.
    let start = move || {
        let child = command.spawn()?;
        let collected = false;
        io::Result::Ok(Running { child, collected })
    };
    let mut running = spawn_blocking(start).await.map_err(io::Error::other)??;
    tokio::select! {
        ended = running.ended() => ended?,
        never = discard(stderr) => match never? {},
        never = reading => match never? {},
        () = sleep(limit) => return Err(CommandError::TimedOut(limit)),
    }
    match running.end()? {
        status if status.success() => Ok(()),
        status => Err(CommandError::Failed(status)),
    }
}

/// Takes what a command prints, so that it is not kept from going on; slowly, so that it
/// does not keep us busy.
async fn discard(reader: PipeReader) -> io::Result<Infallible> {
    let receiver = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let mut thrown_away = vec![0; 64 * 1024];
    loop {
        receiver.readable().await?;
        match receiver.try_read(&mut thrown_away) {
            // Nobody has the other end any more.
            Ok(0) => std::future::pending().await,
            Ok(_) => sleep(Duration::from_millis(1)).await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Adds what a command prints to `text` until it prints no more.
async fn read_output(
    output: &pipe::Receiver,
    text: &mut Vec<u8>,
    max_bytes: usize,
) -> Result<(), CommandError> {
    loop {
        output.readable().await?;
        // Never more than there is room for.
        let mut part = Zeroizing::new([0; 4 * 1024]);
        let room = part.len().min(max_bytes + 1 - text.len());
        match output.try_read(&mut part[..room]) {
            Ok(0) => return Ok(()),
            Ok(count) => text.extend_from_slice(&part[..count]),
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

    /// Waits for its end without collecting it.
    async fn ended(&self) -> io::Result<()> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(self.pid()), flags)? == WaitStatus::StillAlive {
            sleep(EXIT_POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Ends all that is left of the group, and collects what has become of its leader. Until
    /// then the leader's number, which is the group's, is nobody else's.
    fn end(&mut self) -> io::Result<ExitStatus> {
        self.collected = true;
        let _ = killpg(self.pid(), Signal::SIGKILL);
        // It may have gone into another group.
        let _ = self.child.kill();
        let status = wait_for_exit(
            &mut self.child,
            KILL_POLL_ATTEMPTS,
            KILL_POLL_INTERVAL,
            || Ok(()),
        )?;
        status.ok_or_else(|| io::Error::other("it cannot be killed"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.collected {
            let _ = self.end();
        }
    }
}

#[cfg(test)]
mod tests;
