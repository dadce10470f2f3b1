//! The user that runs the daemon: the rule of trust depends on it, and not on the user that runs
//! `stsctl`.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use rustix::process::geteuid;
use stsd_client::{Error, Status};
use stsd_trust::ProcessIds;

/// The user and the groups of the daemon.
pub(super) enum DaemonUser {
    Known(ProcessIds),
    /// No file can be judged, for this reason.
    Unknown(String),
}

impl DaemonUser {
    /// Returns the user of the process that answers, or else the owner of a configuration of this
    /// user.
    ///
    /// The process is found by the number in its status, and not by the peer of the socket, which
    /// for an inherited socket is systemd.
    pub(super) fn find(status: &Result<Status, Error>, config: Option<&Path>) -> Self {
        if let Ok(status) = status {
            return Self::of_process(status.pid);
        }
        let own = geteuid();
        let is_own = |path: &Path| fs::metadata(path).is_ok_and(|it| it.uid() == own.as_raw());
        if own.is_root() {
            let reason = "no daemon answers, and root's configuration may be that of a daemon with \
                          another user";
            return Self::Unknown(reason.to_owned());
        }
        if config.is_some_and(is_own) {
            return Self::Known(ProcessIds::own());
        }
        Self::Unknown("no daemon answers, and the configuration is another user's".to_owned())
    }

    fn of_process(pid: u32) -> Self {
        // In another PID namespace the number belongs to another program.
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        match ProcessIds::of(pid) {
            Ok(ids) if name.starts_with("stsd") => Self::Known(ids),
            _ => Self::Unknown(format!("/proc does not show the daemon's process, {pid}")),
        }
    }

    /// Returns `true` if a program that this process starts has the rights of the daemon.
    pub(super) fn is_caller(&self) -> bool {
        matches!(self, Self::Known(ids) if ids.uid == geteuid().as_raw())
    }

    /// Returns the user and the group with which root can start a program in the daemon's place.
    /// `None` for other callers, and for a daemon with supplementary groups.
    pub(super) fn to_become(&self) -> Option<(u32, u32)> {
        let Self::Known(ids) = self else { return None };
        let gid = *ids.gids.first()?;
        let has_one_group = ids.gids.iter().all(|it| *it == gid);
        (geteuid().is_root() && !self.is_caller() && has_one_group).then_some((ids.uid, gid))
    }

    /// Returns the reason for which this process cannot judge in the daemon's place.
    pub(super) fn why_not(&self) -> String {
        match self {
            Self::Known(ids) => format!("the daemon runs as uid {}", ids.uid),
            Self::Unknown(reason) => reason.clone(),
        }
    }
}
