//! The notifications to the service manager, sd_notify(3), and its file descriptor store. Without a
//! service manager all functions do nothing.

use std::{
    env, io,
    net::TcpListener,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use sd_notify::{NotifyState, notify, notify_with_fds, watchdog_enabled};
use stsd_document::Printable;
use tracing::warn;

/// The names of the stored sessions. The two alternate: the new descriptor is stored before the old
/// one is removed, so that a killed daemon leaves one of them.
const FDSTORE_NAMES: [&str; 2] = ["sessions-a", "sessions-b"];

/// The notification socket of the service manager.
#[derive(Debug, Default)]
pub struct NotifySocket {
    turn: usize,
}

impl NotifySocket {
    /// Returns `true` if the process has a notification socket.
    #[must_use]
    pub fn is_present() -> bool {
        env::var_os("NOTIFY_SOCKET").is_some()
    }

    /// The descriptor name of sessions that an upgrade hands over.
    pub const INHERITED_SESSIONS: &str = "sessions";

    /// The descriptor name of the loopback socket.
    pub const HTTP_SOCKET: &str = "http";

    /// Returns `true` if a descriptor of this name holds sessions.
    #[must_use]
    pub fn is_sessions_name(name: &str) -> bool {
        FDSTORE_NAMES.contains(&name) || name == Self::INHERITED_SESSIONS
    }

    /// Returns the watchdog interval; `None` without a watchdog.
    #[must_use]
    pub fn watchdog() -> Option<Duration> {
        watchdog_enabled()
    }

    /// Notifies the service manager that the daemon is ready, or has read its configuration again,
    /// with a status text.
    pub fn ready(status: &str) {
        let status = Printable(status).to_string();
        send(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    /// Notifies the service manager that the daemon reads its configuration again;
    /// [`ready`](Self::ready) follows.
    pub fn reloading() {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(error) => warn!("a reload cannot be announced: {error}"),
        }
    }

    /// Replaces the status text.
    pub fn status(status: &str) {
        let status = Printable(status).to_string();
        send(&[NotifyState::Status(&status)]);
    }

    /// Resets the watchdog timer.
    pub fn watchdog_ping() {
        send(&[NotifyState::Watchdog]);
    }

    /// Notifies the service manager that the daemon stops.
    pub fn stopping() {
        send(&[NotifyState::Stopping]);
    }

    /// Stores the loopback socket, so that callers wait during a restart; `None` removes the stored
    /// one.
    ///
    /// # Errors
    /// The notification cannot be sent.
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

    /// Returns a function that stores sessions.
    pub fn fd_store(mut self) -> impl FnMut(&OwnedFd) -> io::Result<()> + Send {
        move |sessions| self.store(sessions)
    }

    /// Stores a descriptor and removes the previous one.
    ///
    /// # Errors
    /// The notification cannot be sent; the previous descriptor stays stored.
    fn store(&mut self, sessions: &OwnedFd) -> io::Result<()> {
        let (new, old) = (
            FDSTORE_NAMES[self.turn % 2],
            FDSTORE_NAMES[(self.turn + 1) % 2],
        );
        // Without polling: a memfd is always readable.
        let poll = NotifyState::Custom("FDPOLL=0");
        // The previous process may have stored a descriptor under this name.
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
        warn!("the service manager cannot be notified: {error}");
    }
}
