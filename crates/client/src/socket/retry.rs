//! The retries of one request. A daemon that is away for a moment is waited for, under any service
//! manager or none.

use std::time::{Duration, Instant};

use super::Location;
use crate::{error::Error, instant::now};

/// The first pause before a retry; each further pause is twice as long.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest such pause.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// The time for which a daemon is waited for if nothing indicates that there ever was one.
const MAX_WAIT_WITHOUT_DIRECTORY: Duration = Duration::from_secs(2);

/// The time for which the requests of a client are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The whole patience.
    Patience,
    /// The whole patience, but two seconds for a daemon that does not listen, if its socket was not
    /// named and the socket's directory is missing.
    IfEstablished,
    /// None: a request is attempted once.
    Never,
}

/// The retries of one request.
pub(crate) struct Retry<'a> {
    location: &'a Location,
    wait: Wait,
    began: Instant,
    patience: Duration,
    pause: Duration,
    /// The failure of the previous attempt.
    reason: Option<Error>,
}

impl<'a> Retry<'a> {
    pub(crate) fn new(location: &'a Location, wait: Wait, patience: Duration) -> Self {
        Self {
            location,
            wait,
            began: now(),
            patience,
            pause: FIRST_PAUSE,
            reason: None,
        }
    }

    /// Returns the rest of the patience.
    pub(crate) fn left(&self) -> Duration {
        self.patience.saturating_sub(self.began.elapsed())
    }

    /// Records that a server accepts connections again: only its own refusal remains a reason.
    pub(crate) fn connected(&mut self) {
        self.reason.take_if(|it| !matches!(it, Error::Refused(_)));
    }

    /// Returns the pause before the next attempt.
    ///
    /// # Errors
    /// The error of the request, if no retry follows.
    pub(crate) fn after(&mut self, error: Error) -> Result<Duration, Error> {
        if let Error::TimedOut { .. } = error {
            return Err(self.timed_out());
        }
        let limit = self.limit(&error);
        if !error.is_of_a_restart() || limit.saturating_sub(self.began.elapsed()) <= self.pause {
            return Err(error);
        }
        self.reason = Some(error);
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Ok(pause)
    }

    /// Returns the error for the end of the patience during an attempt.
    pub(crate) fn timed_out(&mut self) -> Error {
        let socket = || self.location.path().to_owned();
        let reason = self.reason.take();
        reason.unwrap_or_else(|| Error::TimedOut { socket: socket() })
    }

    /// Returns the time, from the beginning, in which the request is repeated after an error.
    fn limit(&self, error: &Error) -> Duration {
        let is_away = matches!(error, Error::NotReachable { .. });
        match self.wait {
            Wait::Never => Duration::ZERO,
            Wait::IfEstablished if is_away && !self.location.is_established() => {
                self.patience.min(MAX_WAIT_WITHOUT_DIRECTORY)
            }
            _ => self.patience,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::ErrorKind,
        path::Path,
        time::{Duration, Instant},
    };

    use super::{FIRST_PAUSE, MAX_WAIT_WITHOUT_DIRECTORY, Retry, Wait};
    use crate::{error::Error, socket::Location};

    const PATIENCE: Duration = Duration::from_secs(3600);

    fn away(location: &Location) -> Error {
        location.unreachable(ErrorKind::ConnectionRefused.into())
    }

    /// Returns a location whose directory is missing.
    fn unestablished() -> Location {
        let location = Location::find(|name| match name {
            "XDG_RUNTIME_DIR" | "HOME" => Some("/nonexistent".into()),
            "STSD_CONFIG" => Some("/".into()),
            _ => None,
        });
        assert_eq!(location.path(), Path::new("/nonexistent/stsd/stsd.sock"));
        location
    }

    /// Returns a request that began `age` ago.
    fn begun(location: &Location, wait: Wait, age: Duration) -> Retry<'_> {
        let mut retry = Retry::new(location, wait, PATIENCE);
        retry.began = Instant::checked_sub(&retry.began, age).unwrap();
        retry
    }

    #[test]
    fn daemon_without_a_directory_is_waited_for_two_seconds_unless_told() {
        let location = unestablished();
        let check = |wait, age, is_retried: bool| {
            let mut retry = begun(&location, wait, age);
            let pause = retry.after(away(&location));
            assert_eq!(pause.is_ok(), is_retried, "{wait:?} {age:?}");
        };
        let (early, late) = (Duration::from_secs(1), MAX_WAIT_WITHOUT_DIRECTORY);
        check(Wait::IfEstablished, early, true);
        check(Wait::IfEstablished, late, false);
        check(Wait::Patience, late, true);
        check(Wait::Never, Duration::ZERO, false);
    }

    #[test]
    fn named_daemon_is_waited_for_until_the_patience_ends() {
        let location = Location::named("/nonexistent/stsd.sock".into());
        for kind in [
            ErrorKind::ConnectionRefused,
            ErrorKind::NotFound,
            ErrorKind::PermissionDenied,
        ] {
            let error = || location.unreachable(kind.into());
            let mut retry = begun(&location, Wait::IfEstablished, PATIENCE / 2);
            assert_eq!(retry.after(error()).unwrap(), FIRST_PAUSE);
            assert_eq!(retry.after(error()).unwrap(), FIRST_PAUSE * 2);
            let mut retry = begun(&location, Wait::IfEstablished, PATIENCE);
            assert!(matches!(
                retry.after(error()),
                Err(Error::NotReachable { .. })
            ));
        }
        let mut retry = begun(&location, Wait::Patience, Duration::ZERO);
        let lasting = location.unreachable(ErrorKind::NotADirectory.into());
        assert!(retry.after(lasting).is_err());
    }

    #[test]
    fn reason_before_a_silence_is_kept_only_if_it_came_from_the_server() {
        let location = Location::named("/nonexistent/stsd.sock".into());
        let mut retry = Retry::new(&location, Wait::Patience, PATIENCE);
        retry.after(away(&location)).unwrap();
        assert!(matches!(retry.timed_out(), Error::NotReachable { .. }));
        retry.after(away(&location)).unwrap();
        retry.connected();
        assert!(matches!(retry.timed_out(), Error::TimedOut { .. }));
    }
}
