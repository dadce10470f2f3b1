//! Decides how a command is run that is not ours: within a time, alone with its process
//! group, heard by nobody. What it prints is thrown away, because it may have read secrets.

use std::{
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
use tokio::{net::unix::pipe, task::spawn_blocking, time::sleep};

/// How often it is looked whether a command has ended.
const LOOK: Duration = Duration::from_millis(50);

/// How often one is looked for that was killed, and what lies between.
const LAST_LOOKS: (u32, Duration) = (100, Duration::from_millis(2));

/// Why a command has not done its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// It could not be started, or not be watched.
    #[error("the command does not start: {0}")]
    Start(#[from] io::Error),
    /// It says so itself.
    #[error("the command failed: {0}")]
    Failed(ExitStatus),
    /// It was killed.
    #[error("the command did not end within {} s and was killed", .0.as_secs())]
    Late(Duration),
}

/// A command that runs; whatever happens, it and its process group do not outlive this.
struct Running {
    child: Child,
    collected: bool,
}

/// Runs a command to its end, for `bound` at the most.
///
/// # Errors
/// [`CommandError`]; by then nothing of its process group runs any more.
pub(super) async fn run(mut command: Command, bound: Duration) -> Result<(), CommandError> {
    let (reader, writer) = io::pipe()?;
    // Not /dev/null for its output: nobody who is confined as we are may open that for writing.
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
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
        never = drain(reader) => match never? {},
        () = sleep(bound) => return Err(CommandError::Late(bound)),
    }
    match running.end()? {
        status if status.success() => Ok(()),
        status => Err(CommandError::Failed(status)),
    }
}

/// Takes what a command prints, so that it is not kept from going on; slowly, so that it
/// does not keep us busy.
async fn drain(reader: PipeReader) -> io::Result<std::convert::Infallible> {
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

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits for its end without collecting it.
    async fn ended(&self) -> io::Result<()> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(self.pid()), flags)? == WaitStatus::StillAlive {
            sleep(LOOK).await;
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
        let (looks, pause) = LAST_LOOKS;
        for _ in 0..looks {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(pause);
        }
        Err(io::Error::other("it cannot be killed"))
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
