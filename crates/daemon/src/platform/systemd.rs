//! Decides what the service manager is told, and what it keeps for us. Without a manager
//! all of it does nothing.

use std::{
    env, io,
    net::TcpListener,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use sd_notify::{NotifyState, notify, notify_with_fds, watchdog_enabled};
use tracing::warn;

/// The names of the descriptors that the manager keeps. There are two, used in turn: the
/// new one is there before the old one goes, whenever we are killed.
const FDSTORE_NAMES: [&str; 2] = ["sessions-a", "sessions-b"];

/// The service manager, as it is to be told of us.
#[derive(Debug, Default)]
pub struct NotifySocket {
    turn: usize,
}

impl NotifySocket {
    /// Tells whether there is one.
    #[must_use]
    pub fn is_present() -> bool {
        env::var_os("NOTIFY_SOCKET").is_some()
    }

    /// The name of sessions that were inherited and not kept.
    pub const INHERITED_SESSIONS: &str = "sessions";

    /// The name of the loopback socket.
    pub const HTTP_SOCKET: &str = "http";

    /// Tells whether a descriptor of this name holds sessions.
    #[must_use]
    pub fn is_sessions_name(name: &str) -> bool {
        FDSTORE_NAMES.contains(&name) || name == Self::INHERITED_SESSIONS
    }

    /// Returns how often it wants to hear that we are alive, if it does.
    #[must_use]
    pub fn watchdog() -> Option<Duration> {
        watchdog_enabled()
    }

    /// Says that we listen and serve, and what we are doing.
    pub fn ready(status: &str) {
        send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Says that we have just proved to be alive.
    pub fn watchdog_ping() {
        send(&[NotifyState::Watchdog]);
    }

    /// Says that we are about to leave.
    pub fn stopping() {
        send(&[NotifyState::Stopping]);
    }

    /// Gives the loopback socket into keeping, so that callers wait while we are away; or
    /// takes back the one that was kept.
    ///
    /// # Errors
    /// When the manager cannot be told.
    pub fn store_http_socket(listener: Option<&TcpListener>) -> io::Result<()> {
        notify(&[
            NotifyState::FdStoreRemove,
            NotifyState::FdName(Self::HTTP_SOCKET),
        ])?;
        let Some(listener) = listener else {
            return Ok(());
        };
        let poll = NotifyState::Custom("FDPOLL=0");
        let state = [
            NotifyState::FdStore,
            NotifyState::FdName(Self::HTTP_SOCKET),
            poll,
        ];
        notify_with_fds(&state, &[listener.as_fd()])
    }

    /// Returns what gives sessions into keeping.
    pub fn fd_store(mut self) -> impl FnMut(&OwnedFd) -> io::Result<()> + Send {
        move |sessions| self.store(sessions)
    }

    /// Gives a descriptor into keeping, in place of the one before.
    ///
    /// # Errors
    /// When the manager cannot be told; then it keeps the one before.
    fn store(&mut self, sessions: &OwnedFd) -> io::Result<()> {
        let (new, old) = (
            FDSTORE_NAMES[self.turn % 2],
            FDSTORE_NAMES[(self.turn + 1) % 2],
        );
        // Without polling: a memfd is always readable.
        let poll = NotifyState::Custom("FDPOLL=0");
        // What this name may stand for since the process before us.
        notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(new)])?;
        let state = [NotifyState::FdStore, NotifyState::FdName(new), poll];
        notify_with_fds(&state, &[sessions.as_fd()])?;
        notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(old)])?;
        self.turn += 1;
        Ok(())
    }
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = notify(state) {
        warn!("the service manager cannot be told: {error}");
    }
}
