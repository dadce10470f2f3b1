//! `stsctl lease`: the second socket exists as long as the lease and is removed on every exit
//! except SIGKILL.

use std::{
    fs,
    io::{self, ErrorKind},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    fs::Mode,
    io::{FdFlags, fcntl_setfd, ioctl_fionbio},
    net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket},
    process::{geteuid, umask},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};
use stsd_client::{Client, Error, Lease};
use stsd_model::exact_duration;

use crate::{
    boot_time::boot_time,
    term::{stdout::print_line, style},
};

/// Larger than any policy: STS accepts 2,048 bytes without white space.
const MAX_POLICY_FILE_BYTES: u64 = 64 * 1024;

/// Maximum length of a socket's path, in bytes: `sun_path` has 108 with its NUL, unix(7); 104 on
/// macOS.
const MAX_PATH_BYTES: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// Time for a restart of the daemon, after which the lease is given up.
const RESTART_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause between the loss of a lease and its next request.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Interval between checks whether the socket is in its place.
const SOCKET_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The options of the command.
pub(crate) struct LeaseOptions {
    pub(crate) profile: String,
    pub(crate) policy: Option<PathBuf>,
    pub(crate) ttl: Duration,
    pub(crate) socket: PathBuf,
    pub(crate) patience: Duration,
}

/// A bound socket, unlinked when it is dropped.
struct BoundSocket {
    listener: UnixListener,
    file: SocketIdentity,
}

/// The path of a socket, with its device and inode.
#[derive(Clone)]
struct SocketIdentity {
    path: PathBuf,
    id: (u64, u64),
    /// This program removes the socket.
    is_over: Arc<AtomicBool>,
}

/// Opens a lease and returns when the lease is over. After a restart of the daemon, the lease is
/// requested again for the remaining time; clients of the second socket wait meanwhile.
pub(crate) fn run(client: &Client, options: &LeaseOptions) -> Result<()> {
    let policy = options.policy.as_deref().map(read_policy).transpose()?;
    // By a clock that counts suspends, so that a suspend does not prolong the lease.
    let ends = boot_time() + options.ttl;
    let mut socket = None;
    let mut patience = options.patience;
    loop {
        let left = ends.saturating_sub(boot_time());
        if left.is_zero() && socket.is_some() {
            return Ok(());
        }
        let lease = client.lease(&options.profile, policy.as_deref(), left, patience)?;
        match serve(lease, &mut socket, options)? {
            Err(error) if error.is_of_a_restart() => thread::sleep(RETRY_INTERVAL),
            outcome => return Ok(outcome?),
        }
        patience = RESTART_TIMEOUT;
    }
}

/// Passes the second socket to the daemon and waits for the end of the lease. The socket is bound
/// only after the lease is granted.
fn serve(
    mut lease: Lease,
    socket: &mut Option<BoundSocket>,
    options: &LeaseOptions,
) -> Result<Result<(), Error>> {
    let first = socket.is_none();
    let socket = match socket {
        Some(socket) => socket,
        None => socket.insert(BoundSocket::bind(&options.socket)?),
    };
    if let Err(error) = lease.open(&socket.listener) {
        return Ok(Err(error));
    }
    if first {
        print_first_lines(options)?;
    }
    Ok(lease.until_over())
}

/// Prints the socket, and the variables with which a client finds it. The second one lets a client of
/// another user, such as root in a container, accept this user's server.
fn print_first_lines(options: &LeaseOptions) -> Result<()> {
    let path = options.socket.display();
    let time = exact_duration(options.ttl.as_secs());
    print_line(&format!(
        "{}: leased at {path} for {time}, or until this command ends",
        options.profile
    ))?;
    let path = std::path::absolute(&options.socket)?;
    print_line(&format!("STSD_SOCKET={}", path.display()))?;
    print_line(&format!("STSD_SERVER_UID={}", geteuid().as_raw()))
}

fn read_policy(path: &Path) -> Result<String> {
    let shown = path.display();
    let metadata = fs::metadata(path).with_context(|| format!("{shown}"))?;
    if !metadata.is_file() || metadata.len() > MAX_POLICY_FILE_BYTES {
        bail!("{shown} is not a policy: it is no file, or too large a one");
    }
    fs::read_to_string(path).with_context(|| format!("{shown}"))
}

impl BoundSocket {
    /// Binds a socket with mode 0600 and unlinks it on SIGINT, SIGTERM and SIGHUP.
    fn bind(path: &Path) -> Result<Self> {
        let shown = path.display();
        let length = path.as_os_str().len();
        ensure!(
            length <= MAX_PATH_BYTES,
            "{shown} has {length} bytes, and the path of a socket has at most {MAX_PATH_BYTES}: name a \
             shorter one"
        );
        remove_stale(path)?;
        let before = umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        umask(before);
        let listener = listener.with_context(|| format!("cannot listen at {shown}"))?;
        let file = SocketIdentity::at(path).with_context(|| format!("{shown} is gone already"))?;
        let on_signal = file.clone();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        thread::spawn(move || {
            for signal in signals.forever() {
                on_signal.unlink();
                let _ = emulate_default_handler(signal);
            }
        });
        let watched = file.clone();
        thread::spawn(move || watched.exit_when_removed());
        Ok(Self { listener, file })
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        self.file.unlink();
    }
}

impl SocketIdentity {
    fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            id: (metadata.dev(), metadata.ino()),
            is_over: Arc::default(),
        })
    }

    /// Ends the program, and with it the lease, when no client can find the socket any more.
    fn exit_when_removed(&self) {
        while Self::at(&self.path).is_ok_and(|now| now.id == self.id) {
            thread::sleep(SOCKET_CHECK_INTERVAL);
        }
        if self.is_over.load(Ordering::Relaxed) {
            return;
        }
        let error = format!(
            "the socket {} was removed: the lease ends",
            self.path.display()
        );
        style::print_error(&error, "request the lease again");
        process::exit(1)
    }

    /// Removes the socket, unless the path has another socket by now.
    fn unlink(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        if Self::at(&self.path).is_ok_and(|now| now.id == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket that refuses connections; any other file is an error.
fn remove_stale(path: &Path) -> Result<()> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("{shown}")),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            bail!("{shown} exists and is not a socket")
        }
        Ok(_) => {}
    }
    // Not by flags of socket(2), which macOS does not have.
    let probe = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    fcntl_setfd(&probe, FdFlags::CLOEXEC)?;
    ioctl_fionbio(&probe, true)?;
    match connect(&probe, &SocketAddrUnix::new(path)?) {
        Err(rustix::io::Errno::CONNREFUSED) => {
            fs::remove_file(path).with_context(|| format!("{shown}"))
        }
        Ok(()) | Err(rustix::io::Errno::AGAIN) => {
            let holder = holder(&probe);
            bail!("another process{holder} listens at {shown} already; choose another --socket")
        }
        Err(error) => Err(error).with_context(|| format!("{shown}")),
    }
}

/// Returns the user of the process that listens, in words; nothing if the kernel reports none.
#[cfg(not(target_os = "macos"))]
fn holder(probe: &OwnedFd) -> String {
    let credentials = rustix::net::sockopt::socket_peercred(probe).ok();
    credentials.map_or_else(String::new, |it| format!(" of uid {}", it.uid.as_raw()))
}

/// Returns nothing: rustix does not read the peer's user on macOS.
#[cfg(target_os = "macos")]
fn holder(_: &OwnedFd) -> String {
    String::new()
}
