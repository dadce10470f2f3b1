//! Persists the sessions for the next process, and reports a failure that lasts.

use std::{os::fd::OwnedFd, sync::Arc};

use tracing::{info, warn};

use super::PersistSessions;
use crate::runtime::{
    clock::BootTime,
    conditions::{Condition, Conditions},
};

/// The handover of the sessions to the next process.
pub(super) struct Handover {
    /// `None` without a file descriptor store.
    persist: Option<PersistSessions>,
    conditions: Arc<Conditions>,
}

impl Handover {
    pub(super) fn new(persist: Option<PersistSessions>, conditions: Arc<Conditions>) -> Self {
        Self {
            persist,
            conditions,
        }
    }

    /// Returns `true` if there is a place for the sessions.
    pub(super) fn is_possible(&self) -> bool {
        self.persist.is_some()
    }

    /// Persists sealed sessions; after an error the previously persisted ones remain.
    pub(super) fn persist(&mut self, sessions: &OwnedFd, now: BootTime) {
        let Some(persist) = &mut self.persist else {
            return;
        };
        match persist(sessions) {
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
