//! The refusal of a path: the component, its owner and mode, and the command that fixes it.

use std::{fmt, io};

use crate::{
    facts::{Kind, is_read_only},
    process_ids::ProcessIds,
    table::Reason,
    walk::Component,
};

/// Texts of a refusal that depends on the process: another user's process may be trusted there.
const OWNER_TEXT: &str = "its owner is neither root nor uid";
const GROUP_TEXT: &str = "a secret must not be open to a group";

/// Why a path is not trusted. The text follows the path: `PATH belongs to uid 7 …`.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A component of the path does not exist, or cannot be examined.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another user owns, reads or writes a component of the path.
    #[error(transparent)]
    Loose(Box<Loose>),
}

/// A component that is not trusted.
#[derive(Debug)]
pub struct Loose {
    component: Component,
    reason: Reason,
    place: Place,
    process: ProcessIds,
}

/// The place of a component.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The component is the object at the judged path, and no link led to it.
    pub(crate) is_whole_path: bool,
    pub(crate) is_in_kubernetes_volume: bool,
}

impl Loose {
    pub(crate) fn new(
        component: Component,
        reason: Reason,
        place: Place,
        process: &ProcessIds,
    ) -> Self {
        Self {
            component,
            reason,
            place,
            process: process.clone(),
        }
    }

    /// Returns what to do: the command that fixes the component, where a command can.
    #[must_use]
    pub fn hint(&self) -> String {
        let is_read = matches!(
            self.reason,
            Reason::OthersRead | Reason::GroupReads | Reason::AclReads
        );
        if is_read && self.place.is_in_kubernetes_volume {
            return "set defaultMode: 0400 for the volume, and fsGroup for a pod that does not run \
                    as root"
                .to_owned();
        }
        let facts = &self.component.facts;
        // A command would take /tmp away from all users.
        if facts.mode & 0o1000 != 0 && facts.owner == 0 && facts.others_write() {
            return "use a directory that no other user can write to".to_owned();
        }
        let command = self.command();
        let is_of_owner = matches!(self.reason, Reason::Owner | Reason::OwnerInVolume);
        // Root judges the files of a daemon with another user too, before its start.
        if is_of_owner && self.process.uid == 0 {
            return format!(
                "run {command} if the daemon runs as root; otherwise repeat this as the daemon's user"
            );
        }
        if is_read_only(&self.component.path) {
            return format!("its file system is mounted read-only: run {command} at its origin");
        }
        if is_read {
            return format!("run {command}, and replace the secret, which others may have read");
        }
        format!("run {command}")
    }

    fn command(&self) -> String {
        let facts = &self.component.facts;
        let path = quoted(&self.component.path.to_string_lossy());
        let uid = self.process.uid;
        match self.reason {
            Reason::Owner if facts.kind == Kind::Link => format!("chown -h {uid} {path}"),
            Reason::Owner => format!("chown {uid} {path}"),
            Reason::OwnerInVolume => format!("chown -h 0 {path}"),
            Reason::OthersWrite if facts.group_writes() => format!("chmod go-w {path}"),
            Reason::OthersWrite => format!("chmod o-w {path}"),
            Reason::GroupWrites => format!("chmod g-w {path}"),
            Reason::AclWrites | Reason::AclReads => format!("setfacl -b {path}"),
            Reason::OthersRead | Reason::GroupReads => self.private_mode(&path),
        }
    }

    /// Returns the command that leaves a secret readable for the process alone.
    fn private_mode(&self, path: &str) -> String {
        let (facts, process) = (&self.component.facts, &self.process);
        if facts.owner == process.uid {
            return format!("chmod 0600 {path}");
        }
        let group = process.gids.first().copied().unwrap_or(process.uid);
        if process.gids.contains(&facts.group) {
            format!("chmod 0640 {path}")
        } else {
            format!("chgrp {group} {path} && chmod 0640 {path}")
        }
    }

    fn reason(&self) -> String {
        match self.reason {
            Reason::Owner => {
                format!("{OWNER_TEXT} {}", self.process.uid)
            }
            Reason::OwnerInVolume => {
                "in a volume that every user can write to, all files have to be root's".to_owned()
            }
            Reason::OthersWrite => "every user can write to it".to_owned(),
            Reason::GroupWrites => {
                format!("the group {} can write to it", self.component.facts.group)
            }
            Reason::AclWrites => "its access control list lets others write to it".to_owned(),
            Reason::OthersRead => "a secret must not be open to every user".to_owned(),
            Reason::GroupReads => GROUP_TEXT.to_owned(),
            Reason::AclReads => "its access control list opens the secret to others".to_owned(),
        }
    }
}

impl fmt::Display for Loose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &self.component.facts;
        if !self.place.is_whole_path {
            let kind = match facts.kind {
                Kind::Directory => "directory",
                Kind::Link => "link",
                Kind::File | Kind::NullDevice => "file",
            };
            write!(
                f,
                "is not safe: the {kind} {} ",
                self.component.path.display()
            )?;
        }
        write!(
            f,
            "belongs to uid {} and has mode {:04o}: ",
            facts.owner, facts.mode
        )?;
        f.write_str(&self.reason())
    }
}

impl std::error::Error for Loose {}

impl From<Loose> for TrustError {
    fn from(loose: Loose) -> Self {
        Self::Loose(Box::new(loose))
    }
}

/// Returns `true` if a message of stsd has a refusal that another user's process may not share.
#[must_use]
pub fn depends_on_the_process(message: &str) -> bool {
    [OWNER_TEXT, GROUP_TEXT]
        .iter()
        .any(|it| message.contains(it))
}

/// Returns a path as one word of a shell.
fn quoted(path: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "/._-+,:@%".contains(it);
    if path.chars().all(is_plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}
