//! Decides whether we are where callers look for us: the socket still stands in its place,
//! and who connects is answered. The service manager's watchdog hears of nothing else.

use std::{
    convert::Infallible,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{net::UnixListener, sync::mpsc, time::sleep};
use tracing::{error, info, warn};

use crate::{
    listen::{self, Handed, LENT, ListenError, OWN, Place},
    manager::Manager,
    server,
};

/// How often we look without a watchdog.
const PAUSE: Duration = Duration::from_secs(20);

/// What is looked after.
pub struct Presence {
    /// What callers connect to: where, and a copy for a program that takes our place.
    pub sockets: Vec<(PathBuf, OwnedFd)>,
    /// The one of them that we made ourselves, if we did.
    pub place: Option<Place>,
    /// Where a socket goes that had to be made again.
    pub listeners: mpsc::Sender<UnixListener>,
    /// Why it could not be made again, so that it is said once.
    said: Option<String>,
}

impl Presence {
    /// Begins to look after what was handed over; the sockets themselves go to `listeners`.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub async fn of(handed: Handed, listeners: mpsc::Sender<UnixListener>) -> io::Result<Self> {
        let sockets = handed.listeners.iter().map(copy);
        let sockets = sockets.collect::<io::Result<_>>()?;
        for listener in handed.listeners {
            let _ = listeners.send(listener).await;
        }
        Ok(Self {
            sockets,
            place: handed.place,
            listeners,
            said: None,
        })
    }

    /// Gives up what was looked after, for a program that takes our place: each socket and
    /// the name it is inherited under.
    #[must_use]
    pub fn into_sockets(self) -> Vec<(OwnedFd, &'static str)> {
        let name = if self.place.is_some() { OWN } else { LENT };
        // The socket goes on standing there.
        std::mem::forget(self.place);
        self.sockets.into_iter().map(|(_, fd)| (fd, name)).collect()
    }

    /// Looks after our presence until it is dropped.
    pub async fn keep(&mut self) -> Infallible {
        let watchdog = Manager::watchdog();
        // Twice in the time the watchdog grants, as sd_watchdog_enabled(3) advises.
        let pause = watchdog.map_or(PAUSE, |limit| (limit / 2).min(PAUSE));
        loop {
            sleep(pause).await;
            self.mend().await;
            if watchdog.is_some() && self.answers(pause).await {
                Manager::alive();
            }
        }
    }

    /// Makes a socket of ours again that somebody has taken away.
    async fn mend(&mut self) {
        let Some(place) = self.place.as_ref().filter(|it| !it.stands()) else {
            return;
        };
        match listen::bind(place.path(), place.reach()) {
            Ok((listener, place)) => {
                warn!(socket = %place.path().display(), "the socket was taken away; listening again");
                match copy(&listener) {
                    Ok(copy) => self.sockets = vec![copy],
                    Err(problem) => warn!("the new socket cannot be copied: {problem}"),
                }
                self.place = Some(place);
                self.said = None;
                let _ = self.listeners.send(listener).await;
            }
            Err(ListenError::Live(path)) => {
                error!(
                    "another daemon has taken {}; nobody finds this one",
                    path.display()
                );
                // Said once; the place is theirs.
                self.place = None;
            }
            Err(problem) => {
                let complaint = format!("{problem} (hint: {})", problem.hint());
                if self.said.as_ref() != Some(&complaint) {
                    warn!("the socket was taken away: {complaint}");
                    self.said = Some(complaint);
                }
            }
        }
    }

    async fn answers(&self, patience: Duration) -> bool {
        for (socket, _) in &self.sockets {
            if let Err(problem) = server::probe(socket, patience).await {
                info!(socket = %socket.display(), "no answer from ourselves: {problem}");
                return false;
            }
        }
        true
    }
}

fn copy(listener: &UnixListener) -> io::Result<(PathBuf, OwnedFd)> {
    let address = listener.local_addr()?;
    let path = address.as_pathname().unwrap_or(Path::new("")).to_owned();
    Ok((path, listener.as_fd().try_clone_to_owned()?))
}
