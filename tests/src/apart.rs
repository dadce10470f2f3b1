//! A network, or mounts, of one's own: for a thread and all that it starts, and gone with
//! them.

use std::{
    panic::resume_unwind,
    path::Path,
    process::Command,
    thread::{self, Builder},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Tells a story in a network of its own, which has loopback and nothing else. Says so when
/// this machine cannot.
pub fn in_own_network(story: impl FnOnce() + Send) {
    apart(CloneFlags::CLONE_NEWNET, loopback, story);
}

/// Tells a story with mounts of its own. Says so when this machine cannot.
pub fn in_own_mounts(story: impl FnOnce() + Send) {
    apart(CloneFlags::CLONE_NEWNS, private, story);
}

/// Mounts a file system on a directory that has room for so many bytes and so many files,
/// the directory itself included; mode 0700.
///
/// # Panics
/// When the system refuses, and outside of [`in_own_mounts`], if it then does.
pub fn mount_small(directory: &Path, bytes: usize, files: usize) {
    let options = format!("mode=0700,size={bytes},nr_inodes={files}");
    let kind = Some("tmpfs");
    mount(
        kind,
        directory,
        kind,
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .unwrap();
}

fn apart(what: CloneFlags, prepare: fn() -> Result<(), String>, story: impl FnOnce() + Send) {
    let name = thread::current().name().unwrap_or("a story").to_owned();
    // Not in the thread of the test, which may go on to tell other stories.
    let told = thread::scope(|scope| {
        let thread = Builder::new().name(name).spawn_scoped(scope, || {
            let apart = unshare(what).map_err(|error| format!("no namespaces for us: {error}"));
            match apart.and_then(|()| prepare()) {
                Ok(()) => story(),
                Err(reason) => crate::not_run(&reason),
            }
        });
        thread.unwrap().join()
    });
    told.unwrap_or_else(|panic| resume_unwind(panic));
}

fn loopback() -> Result<(), String> {
    let arguments = ["link", "set", "lo", "up"];
    match Command::new("ip").args(arguments).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!(
            "ip does not start ({error}); its package is iproute2"
        )),
    }
}

/// What is mounted from now on is not seen outside.
fn private() -> Result<(), String> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, flags, nothing)
        .map_err(|error| format!("mounts cannot be made private: {error}"))
}
