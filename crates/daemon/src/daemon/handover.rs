//! Persists the sessions for the next process, and reports a failure that lasts.

use std::{os::fd::OwnedFd, sync::Arc};

use tracing::{info, warn};

use super::PersistSessions;
use crate::{
    runtime::{
        clock::BootTime,
        conditions::{Condition, Conditions},
    },
    session::session_file::SessionFile,
};

/// The handover of the sessions to the next process.
pub(super) struct Handover {
    /// `None` without a file descriptor store.
    persist: Option<PersistSessions>,
    /// `None` without a directory of the daemon's own.
    file: Option<SessionFile>,
    /// The configuration requests the file.
    keeps_at_stop: bool,
    /// The file cannot be written.
    has_file_problem: bool,
    conditions: Arc<Conditions>,
}

impl Handover {
    pub(super) fn new(
        persist: Option<PersistSessions>,
        file: Option<SessionFile>,
        conditions: Arc<Conditions>,
    ) -> Self {
        Self {
            persist,
            file,
            keeps_at_stop: false,
            has_file_problem: false,
            conditions,
        }
    }

    /// Returns `true` if the service manager takes sessions.
    pub(super) fn is_possible(&self) -> bool {
        self.persist.is_some()
    }

    /// Returns `true` if the sessions are written to a file at a stop.
    pub(super) fn keeps_at_stop(&self) -> bool {
        self.keeps_at_stop
    }

    /// Sets whether the sessions are written to a file at a stop, and reports a file that cannot be used.
    pub(super) fn keep_at_stop(&mut self, keeps_at_stop: bool, now: BootTime) {
        self.keeps_at_stop = keeps_at_stop;
        let checked = match &self.file {
            _ if !keeps_at_stop => Ok(()),
            Some(file) => file.check().map_err(|error| error.to_string()),
            None => Err("the socket is in no directory of the daemon's own".to_owned()),
        };
        let Err(problem) = checked else {
            if self.has_file_problem {
                self.has_file_problem = false;
                self.conditions.recover(Condition::Handover);
            }
            return;
        };
        self.has_file_problem = true;
        let message = format!("the sessions will not survive a restart: {problem}");
        let hint = "put the socket below a tmpfs, in Kubernetes an emptyDir with medium: Memory; or leave \
                    out keep_sessions";
        if self
            .conditions
            .fail(Condition::Handover, &message, hint, now)
        {
            warn!(hint, "{message}");
        }
    }

    /// Writes sealed sessions to the file; an error is logged.
    pub(super) fn write_at_stop(&self, sessions: Option<&OwnedFd>) {
        let (Some(file), Some(sessions)) = (&self.file, sessions) else {
            return;
        };
        match file.write(sessions) {
            Ok(()) => {
                info!(file = %file.path().display(), "the sessions are kept for the next start")
            }
            Err(error) => warn!("the sessions will not survive the restart: {error}"),
        }
    }

    /// Persists sealed sessions; after an error the previously persisted ones remain.
    pub(super) fn persist(&mut self, sessions: &OwnedFd, now: BootTime) {
        let Some(persist) = &mut self.persist else {
            return;
        };
        match persist(sessions) {
            Ok(()) if self.has_file_problem => {}
            Ok(()) if self.conditions.recover(Condition::Handover) => {
                info!("the sessions survive a restart again");
            }
            Ok(()) => {}
            Err(error) => {
                let message = format!("the sessions will not survive a restart: {error}");
                let hint = "see systemctl status; the service manager does not take them";
                if self
                    .conditions
                    .fail(Condition::Handover, &message, hint, now)
                {
                    warn!("{message}");
                }
            }
        }
    }
}
