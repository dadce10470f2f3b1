//! The rule, as a table over the data of one component and of the directory before it.

use crate::{
    Purpose,
    facts::{Facts, Kind, Mount},
    process_ids::ProcessIds,
    walk::Position,
};

/// Why a component is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The owner is neither root nor the process's user.
    Owner,
    /// The owner is not root, in a volume that every user can write to.
    OwnerInVolume,
    /// Every user can write.
    OthersWrite,
    /// A group with other members can write.
    GroupWrites,
    /// An access control list may let other users write.
    AclWrites,
    /// Every user can read a secret, or write or execute it.
    OthersRead,
    /// A group can read a secret.
    GroupReads,
    /// An access control list may let other users read a secret.
    AclReads,
}

/// The properties of a directory that matter for the components in it.
#[derive(Debug, Clone, Copy, Default)]
struct Above {
    /// The directory is sticky, and other users write to it.
    is_sticky: bool,
    /// The directory is the root of a volume of root's that every user can write to.
    is_volume_root: bool,
    /// The directory is in such a volume.
    is_in_volume: bool,
    /// The directory is in such a volume without the sticky bit: all content has to be root's.
    is_in_open_volume: bool,
}

impl Above {
    /// Returns `true` if the owner of a component can replace the component.
    fn is_replaceable(self) -> bool {
        self.is_sticky || self.is_in_open_volume
    }
}

/// The rule for one path.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    purpose: Purpose,
    process: &'a ProcessIds,
    /// The directory of the next component, and those above it, from `/` on.
    above: Vec<Above>,
    /// The walk has followed the link `..data` of a volume of Kubernetes.
    is_kubernetes: bool,
}

impl<'a> Table<'a> {
    pub(crate) fn new(purpose: Purpose, process: &'a ProcessIds) -> Self {
        Self {
            purpose,
            process,
            above: Vec::new(),
            is_kubernetes: false,
        }
    }

    /// Returns `true` if the component that was checked last is in a volume of Kubernetes.
    pub(crate) fn is_in_kubernetes_volume(&self) -> bool {
        self.is_kubernetes && self.parent().is_in_volume
    }

    /// Checks the next component of a path, which has `depth` directories above it.
    pub(crate) fn check(
        &mut self,
        facts: &Facts,
        depth: usize,
        position: Position,
    ) -> Result<(), Reason> {
        self.above.truncate(depth);
        let is_shared = self.purpose == Purpose::WritablePath && position == Position::Last;
        if is_shared && !self.parent().is_replaceable() {
            return Ok(());
        }
        self.check_owner(facts)?;
        if is_shared {
            return Ok(());
        }
        match facts.kind {
            Kind::Link => {
                let is_roots = facts.owner == self.process.root;
                let is_of_volume = self.parent().is_volume_root && facts.is_data_link;
                self.is_kubernetes |= is_of_volume && is_roots;
                Ok(())
            }
            Kind::Directory => self.check_directory(facts, position),
            Kind::NullDevice => Ok(()),
            Kind::File if self.is_secret() => self.check_secret(facts),
            Kind::File => writers(facts).map_or(Ok(()), Err),
        }
    }

    fn parent(&self) -> Above {
        self.above.last().copied().unwrap_or_default()
    }

    fn check_owner(&self, facts: &Facts) -> Result<(), Reason> {
        let parent = self.parent();
        let is_roots = facts.owner == self.process.root;
        if parent.is_in_open_volume && !is_roots {
            return Err(Reason::OwnerInVolume);
        }
        // In a user namespace without root, the files of root and of all other users have the same
        // owner: where other users can create files, the owner has to be the process's own user.
        let is_provably_roots = is_roots && (self.process.root == 0 || !parent.is_sticky);
        if facts.owner == self.process.uid || is_provably_roots {
            Ok(())
        } else {
            Err(Reason::Owner)
        }
    }

    fn check_directory(&mut self, facts: &Facts, position: Position) -> Result<(), Reason> {
        let reason = writers(facts);
        let is_sticky = facts.mode & 0o1000 != 0;
        let is_roots = facts.owner == self.process.root;
        // In a user namespace without root, the content of a volume could be another user's.
        let is_of_real_root = is_roots && self.process.root == 0;
        let is_volume_root =
            facts.others_write() && facts.mount == Mount::Volume && is_of_real_root;
        let is_for_log = self.purpose == Purpose::LogDirectory;
        let is_for_socket = self.purpose == Purpose::SocketDirectory;
        let is_written = self.purpose == Purpose::WrittenDirectory || is_for_log || is_for_socket;
        let is_target = is_written && position == Position::Last;
        let is_var_log = is_for_log && facts.is_var_log && is_roots;
        let is_empty_dir = is_for_socket && facts.mount != Mount::Inside && is_of_real_root;
        if let Some(reason) = reason
            && (is_target || !(is_sticky || (is_volume_root && !is_written) || is_empty_dir))
            && !(is_var_log && reason == Reason::GroupWrites)
        {
            return Err(reason);
        }
        let parent = self.parent();
        self.above.push(Above {
            is_sticky: is_sticky && reason.is_some(),
            is_volume_root,
            is_in_volume: parent.is_in_volume || is_volume_root,
            is_in_open_volume: parent.is_in_open_volume
                || (is_volume_root && !is_sticky && !is_empty_dir),
        });
        Ok(())
    }

    fn is_secret(&self) -> bool {
        matches!(
            self.purpose,
            Purpose::Secret | Purpose::SystemdCredential | Purpose::Token
        )
    }

    /// Checks that no other user can read or write a secret.
    fn check_secret(&self, facts: &Facts) -> Result<(), Reason> {
        if facts.mode & 0o077 == 0 {
            return Ok(());
        }
        let is_roots = facts.owner == 0 && self.process.root == 0;
        let is_for_the_pod = self.purpose == Purpose::Token && self.is_in_kubernetes_volume();
        if is_for_the_pod && is_roots && facts.mode & 0o033 == 0 {
            return Ok(());
        }
        if facts.mode & 0o007 != 0 {
            return Err(Reason::OthersRead);
        }
        let is_credential = self.purpose == Purpose::SystemdCredential;
        // A process of root needs no right of the group 0, which may have other members.
        let is_needed = self.process.uid != 0 || facts.group != 0;
        let is_in_group = is_needed && self.process.gids.contains(&facts.group);
        let is_ours = is_credential || is_in_group;
        if !is_roots || !is_ours || facts.mode & 0o030 != 0 {
            return Err(Reason::GroupReads);
        }
        if facts.has_acl && !is_credential {
            return Err(Reason::AclReads);
        }
        Ok(())
    }
}

/// Returns the reason for which other users can write; `None` if none can.
fn writers(facts: &Facts) -> Option<Reason> {
    if facts.others_write() {
        return Some(Reason::OthersWrite);
    }
    if !facts.group_writes() {
        return None;
    }
    Some(if facts.has_acl {
        Reason::AclWrites
    } else {
        Reason::GroupWrites
    })
}

#[cfg(test)]
mod tests;
