//! One attacker: a thread with a user of its own, that opens connections, writes the same bytes on
//! each, and holds as many of them as it may.

use std::{
    collections::VecDeque,
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use e2e::UnixUser;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Pause after each batch: the attacks are on memory and limits, and attackers that took whole
/// processors would measure the scheduler.
const PAUSE: Duration = Duration::from_millis(2);

/// Connections of a batch, until an attacker holds as many as it may.
const RAMP_BATCH: usize = 8;

/// The address of a socket of the daemon.
#[derive(Clone)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// The behaviour of an attacker.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) address: Address,
    pub(crate) bytes: Vec<u8>,
    /// The connections that it holds; the oldest one is closed for a new one.
    pub(crate) held: usize,
    /// The attacker reads a reply before it closes a connection.
    pub(crate) reads: Reads,
}

/// The replies that an attacker reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    Nothing,
    OneReply,
}

/// The state that a round shares with its attackers.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) is_over: AtomicBool,
    pub(crate) opened: AtomicU64,
}

/// Attacks until the round is over, then closes all connections.
pub(crate) fn attack(user: UnixUser, plan: &Plan, progress: &Progress) {
    user.run(|| {
        let mut held = VecDeque::new();
        while !progress.is_over.load(Ordering::Relaxed) {
            let batch = if held.len() < plan.held {
                RAMP_BATCH
            } else {
                1
            };
            for _ in 0..batch {
                // At its own limit the daemon closes connections before it accepts more.
                if let Some(connection) = open(plan) {
                    held.push_back(connection);
                    progress.opened.fetch_add(1, Ordering::Relaxed);
                }
                while held.len() > plan.held {
                    held.pop_front();
                }
            }
            thread::sleep(PAUSE);
        }
    });
}

fn open(plan: &Plan) -> Option<File> {
    let socket = match &plan.address {
        Address::Unix(path) => OwnedFd::from(UnixStream::connect(path).ok()?),
        Address::Tcp(address) => OwnedFd::from(TcpStream::connect(address).ok()?),
    };
    let mut connection = File::from(socket);
    if plan.reads == Reads::OneReply {
        connection.write_all(&plan.bytes).ok()?;
        let _ = connection.read(&mut [0; 4096]);
    } else {
        fcntl(&connection, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).ok()?;
        // The daemon may close, or not read, before all of it is written.
        let _ = connection.write_all(&plan.bytes);
    }
    Some(connection)
}
