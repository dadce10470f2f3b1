//! Namespaces of the network and of mounts, for a thread and the programs that it starts. The kernel
//! removes them with the last process in them.

use std::{
    panic::resume_unwind,
    process::Command,
    thread::{self, Builder},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Runs a story in a network namespace that has loopback alone; reports NOT RUN where the machine
/// refuses one.
pub fn in_own_network(story: impl FnOnce() + Send) {
    in_namespace(CloneFlags::CLONE_NEWNET, start_loopback, story);
}

/// Runs a story in a mount namespace; reports NOT RUN where the machine refuses one.
pub fn in_own_mounts(story: impl FnOnce() + Send) {
    in_namespace(CloneFlags::CLONE_NEWNS, make_mounts_private, story);
}

fn in_namespace(
    namespace: CloneFlags,
    prepare: fn() -> Result<(), String>,
    story: impl FnOnce() + Send,
) {
    in_own_thread(|| {
        let unshared = unshare(namespace);
        let unshared = unshared.map_err(|error| format!("no namespace here: {error}"));
        match unshared.and_then(|()| prepare()) {
            Ok(()) => story(),
            Err(reason) => crate::not_run(&reason),
        }
    });
}

/// Runs a story that changes its thread: not in the thread of the test, which may run other tests
/// afterwards.
pub(crate) fn in_own_thread(story: impl FnOnce() + Send) {
    let name = thread::current().name().unwrap_or("a story").to_owned();
    let outcome = thread::scope(|scope| {
        let thread = Builder::new().name(name).spawn_scoped(scope, story);
        thread.unwrap().join()
    });
    outcome.unwrap_or_else(|panic| resume_unwind(panic));
}

fn start_loopback() -> Result<(), String> {
    let arguments = ["link", "set", "lo", "up"];
    match Command::new("ip").args(arguments).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!(
            "ip does not start ({error}); its package is iproute2"
        )),
    }
}

/// Makes later mounts invisible outside of the namespace.
fn make_mounts_private() -> Result<(), String> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let none = None::<&str>;
    mount(none, "/", none, flags, none)
        .map_err(|error| format!("mounts cannot be made private: {error}"))
}
