//! The child processes: those that the daemon has started, and orphans that the kernel gives to a
//! process with the number 1 and to a child subreaper. Every child is started by `spawn`, so that
//! an orphan can be told from a child whose exit status is awaited.

use std::{
    collections::BTreeSet,
    io,
    process::{Child, Command, ExitStatus},
    sync::Mutex,
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};

use super::sync::lock;

/// The children whose exit status is awaited.
struct Children {
    /// Children that are being started, whose numbers are not known yet.
    starting: usize,
    awaited: BTreeSet<u32>,
}

static CHILDREN: Mutex<Children> = Mutex::new(Children {
    starting: 0,
    awaited: BTreeSet::new(),
});

/// The result of [`reap_orphans`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaped {
    /// No child is a zombie.
    All,
    /// A child that is being started, or a zombie whose exit status is awaited, may hide others.
    Some,
}

/// Returns `true` if the kernel makes this process the parent of orphans.
#[must_use]
pub fn receives_orphans() -> bool {
    std::process::id() == 1 || prctl::get_child_subreaper().unwrap_or(false)
}

/// Starts a program, whose exit status [`try_wait`] returns.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    lock(&CHILDREN).starting += 1;
    let child = command.spawn();
    let mut children = lock(&CHILDREN);
    children.starting -= 1;
    if let Ok(child) = &child {
        children.awaited.insert(child.id());
    }
    child
}

/// Returns the exit status of a child that has ended, and reaps it; `None` if the child still runs.
pub(crate) fn try_wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    // Under the lock: the kernel may use the number of a reaped child for the next one.
    let mut children = lock(&CHILDREN);
    let status = child.try_wait();
    if !matches!(status, Ok(None)) {
        children.awaited.remove(&child.id());
    }
    status
}

/// Makes a child an orphan, whose exit status is not awaited any more.
pub(crate) fn abandon(child: &Child) {
    lock(&CHILDREN).awaited.remove(&child.id());
}

/// Reaps all orphans that have ended. Never blocks.
pub fn reap_orphans() -> Reaped {
    reap_others(|| Id::All)
}

/// Reaps the orphans of a process group that have ended.
pub(crate) fn reap_orphans_of(group: Pid) -> Reaped {
    reap_others(|| Id::PGid(group))
}

fn reap_others(which: impl Fn() -> Id<'static>) -> Reaped {
    let children = lock(&CHILDREN);
    if children.starting > 0 {
        return Reaped::Some;
    }
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    loop {
        match waitid(which(), ended | WaitPidFlag::WNOWAIT).map(|it| it.pid()) {
            Ok(Some(pid)) if children.awaited.contains(&pid.as_raw().cast_unsigned()) => {
                return Reaped::Some;
            }
            Ok(Some(pid)) => {
                let _ = waitid(Id::Pid(pid), ended);
            }
            // The child was killed by a real-time signal, which nix cannot represent.
            Err(Errno::EINVAL) if children.awaited.is_empty() => {
                let _ = waitid(which(), ended);
            }
            Err(Errno::EINVAL) => return Reaped::Some,
            Err(Errno::EINTR) => {}
            Ok(None) | Err(_) => return Reaped::All,
        }
    }
}
