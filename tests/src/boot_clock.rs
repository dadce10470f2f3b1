//! A boot-time clock that moves under a running program, as a suspend moves it.
//!
//! While a machine sleeps, `CLOCK_BOOTTIME` goes on, and `CLOCK_MONOTONIC`, by which timers
//! run, stands still. A time namespace sets the one ahead without the other, but how far is
//! fixed as soon as somebody lives in it. So there is one namespace for each suspend of a
//! story, each further ahead than the one before; the program inherits them as open files;
//! and a suspend is a step into the next, by a `setns` that [`trace`] has the program make.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    sched::{CloneFlags, unshare},
    unistd::{Pid, gettid},
};

use crate::{Process, trace};

/// From `linux/sched.h`; the libraries do not name it yet.
const CLONE_NEWTIME: i32 = 0x80;

/// Suspends to come, for the programs that are started while it exists.
pub struct BootClock(VecDeque<(Duration, File)>);

impl BootClock {
    /// Prepares suspends, by how long each will last.
    ///
    /// # Errors
    /// What this machine lacks, or what we may not do here.
    ///
    /// # Panics
    /// When it could be done and is not done right.
    pub fn with_suspends(lengths: &[Duration]) -> Result<Self, String> {
        let mut ahead = Duration::ZERO;
        let mut suspends = VecDeque::new();
        for length in lengths {
            ahead += *length;
            let namespace = namespace(ahead)
                .map_err(|error| format!("no time namespaces for us here: {error}"))?;
            suspends.push_back((*length, namespace));
        }
        rehearse(&suspends[0].1)?;
        Ok(Self(suspends))
    }

    /// Suspends a program that was started since, for the next of the lengths; returns it.
    ///
    /// # Panics
    /// When the program's clock did not move.
    pub fn suspend(&mut self, program: &Process) -> Duration {
        let (length, namespace) = self.0.pop_front().expect("a suspend was prepared");
        enter(program, &namespace).unwrap();
        length
    }
}

/// Makes a namespace whose boot-time clock is ahead of this machine's.
fn namespace(ahead: Duration) -> io::Result<File> {
    // unshare concerns the calling thread alone, and this one starts nothing in its turn.
    let maker = thread::spawn(move || {
        unshare(CloneFlags::from_bits_retain(CLONE_NEWTIME))?;
        let offset = format!("boottime {} 0\n", ahead.as_secs());
        fs::write(format!("/proc/{}/timens_offsets", gettid()), offset)?;
        File::open("/proc/thread-self/ns/time_for_children")
    });
    let file = maker.join().unwrap()?;
    // For the program to inherit. Another test's program may inherit it too, to no effect.
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(file)
}

/// Suspends a program nobody needs, so that a story knows beforehand whether it may.
fn rehearse(namespace: &File) -> Result<(), String> {
    let mut sleep = Command::new("sleep");
    sleep.arg("60");
    let program = Process::start(sleep, Path::new("/dev/null"));
    match enter(&program, namespace) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM | Errno::ENOSYS) => Err("tracing a program is not allowed here".into()),
        Err(error) => panic!("the rehearsal failed: {error}"),
    }
}

/// Has a program step into a namespace that it has inherited.
fn enter(program: &Process, namespace: &File) -> nix::Result<()> {
    alone(program);
    let pid = Pid::from_raw(program.id().cast_signed());
    let arguments = [namespace.as_raw_fd(), CLONE_NEWTIME].map(i64::from);
    trace::call(pid, nix::libc::SYS_setns, arguments)?;
    let lives_in = fs::metadata(format!("/proc/{pid}/ns/time")).unwrap().ino();
    assert_eq!(lives_in, namespace.metadata().unwrap().ino());
    Ok(())
}

/// Waits until a program has one thread: the kernel moves no others. A thread of a pool
/// goes away after some seconds without work.
fn alone(program: &Process) {
    for _ in 0..1500 {
        let threads = fs::read_dir(format!("/proc/{}/task", program.id())).unwrap();
        if threads.count() == 1 {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("process {} keeps several threads", program.id());
}
