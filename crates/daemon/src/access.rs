//! Decides whether a peer may have what it asks for.

mod operation;
pub mod peer;

use std::os::fd::BorrowedFd;

use tracing::warn;

pub use self::operation::Operation;
use self::peer::Peer;
use crate::profile::{ProfileName, Rule};

/// Whom a daemon serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A user's daemon: that user, and nobody else, root included. (Root can read our
    /// memory anyway; refusing it here keeps mistakes apart, not root out.) Rules may
    /// narrow that; they open nothing.
    User {
        /// The user the daemon runs as.
        uid: u32,
    },
    /// A machine's daemon: everybody may ask, and nobody gets credentials without a rule,
    /// root included.
    System {
        /// The user the daemon runs as.
        uid: u32,
    },
    /// The socket of a lease: its owner's user, in whatever container, and root, which is
    /// what most containers run as and what nobody can keep out. They may have the one
    /// profile and steer nothing.
    Lease {
        /// The user of whoever holds the lease.
        uid: u32,
    },
}

impl Access {
    /// Tells whether a peer may speak to us at all.
    #[must_use]
    pub fn can_connect(&self, peer: &Peer) -> bool {
        match self {
            Self::User { uid } => peer.uid == *uid,
            Self::System { .. } => true,
            Self::Lease { uid } => peer.uid == *uid || peer.uid == 0,
        }
    }

    /// Tells whether a peer may see every profile, have each renewed, and have the
    /// configuration read again. It says nothing about credentials.
    #[must_use]
    pub fn can_administer(&self, peer: &Peer) -> bool {
        match self {
            Self::User { uid } => peer.uid == *uid,
            Self::System { uid } => peer.uid == *uid || peer.uid == 0,
            Self::Lease { .. } => false,
        }
    }

    /// Tells whether a peer may have a profile renewed that it may have, and lease it on: a
    /// lease gives credentials and nothing else.
    #[must_use]
    pub fn allows_lease_and_refresh(&self) -> bool {
        !matches!(self, Self::Lease { .. })
    }

    /// Tells whether a peer may have the credentials of a profile with these rules. Any
    /// rule that fits is enough.
    #[must_use]
    pub fn can_read(&self, rules: &[Rule], peer: &Peer, socket: BorrowedFd<'_>) -> bool {
        if !self.can_connect(peer) {
            return false;
        }
        let unlimited = !matches!(self, Self::System { .. }) && rules.is_empty();
        unlimited || rules.iter().any(|rule| self.matches(rule, peer, socket))
    }

    /// Logs the profiles that no caller may have.
    pub fn warn_unreachable_profiles<'a>(
        &self,
        profiles: impl Iterator<Item = (&'a ProfileName, &'a [Rule])>,
    ) {
        if !matches!(self, Self::System { .. }) {
            return;
        }
        for (profile, _) in profiles.filter(|(_, rules)| rules.is_empty()) {
            warn!(%profile, "no caller may have this profile: it has no allow rule");
        }
    }

    fn matches(&self, rule: &Rule, peer: &Peer, socket: BorrowedFd<'_>) -> bool {
        match rule {
            Rule::User(uid) => peer.uid == *uid,
            Rule::Group(gid) => peer.is_in_group(*gid, socket),
            Rule::Unit(name) => {
                let units = &peer.process(socket).units;
                let named = |unit: &Option<Box<str>>| unit.as_deref() == Some(name.as_str());
                // Any user can start a unit of any name in a manager of his own.
                let users_own = matches!(self, Self::User { .. }) && named(&units.user);
                users_own || named(&units.system)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::{fd::AsFd as _, unix::net::UnixStream};

    use super::{Access, Peer, Rule};
    use crate::profile::UnitName;

    const NIGHTLY: &str = "0::/system.slice/nightly.service\n";
    const USERS_NIGHTLY: &str =
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/nightly.service\n";

    #[track_caller]
    fn check(access: Access, rules: &[Rule], peer: &Peer, expected: bool) {
        let (socket, _) = UnixStream::pair().unwrap();
        assert_eq!(access.can_read(rules, peer, socket.as_fd()), expected);
    }

    fn unit(name: &str) -> Rule {
        Rule::Unit(UnitName::new(name).unwrap())
    }

    #[test]
    fn a_user_daemon_serves_its_user_alone_whatever_the_rules_say() {
        let user = Access::User { uid: 1000 };
        let (own, other) = (Peer::known(1000, &[], ""), Peer::known(1001, &[27], ""));
        let root = Peer::known(0, &[], "");
        check(user, &[], &own, true);
        check(user, &[], &other, false);
        check(user, &[], &root, false);
        check(user, &[Rule::User(1001)], &other, false);
        check(user, &[Rule::Group(27)], &other, false);
        check(user, &[Rule::User(0)], &root, false);
        let in_unit = Peer::known(1001, &[], NIGHTLY);
        check(user, &[unit("nightly.service")], &in_unit, false);
        assert!(user.can_connect(&own) && user.can_administer(&own));
        assert!(!user.can_connect(&other) && !user.can_administer(&other));
        assert!(!user.can_connect(&root) && !user.can_administer(&root));
    }

    #[test]
    fn in_a_user_daemon_rules_narrow() {
        let user = Access::User { uid: 1000 };
        let own = Peer::known(
            1000,
            &[27],
            "0::/user.slice/user-1000.slice/session-3.scope\n",
        );
        check(user, &[Rule::User(1001)], &own, false);
        check(user, &[Rule::User(1001), Rule::User(1000)], &own, true);
        check(user, &[Rule::Group(28)], &own, false);
        check(user, &[Rule::Group(27)], &own, true);
        check(user, &[unit("nightly.service")], &own, false);
        for cgroup in [NIGHTLY, USERS_NIGHTLY] {
            let in_unit = Peer::known(1000, &[], cgroup);
            check(user, &[unit("nightly.service")], &in_unit, true);
        }
    }

    #[test]
    fn a_system_daemon_serves_nobody_without_a_rule() {
        let system = Access::System { uid: 990 };
        for uid in [0, 990, 1000] {
            let peer = Peer::known(uid, &[0, 990, 1000], NIGHTLY);
            check(system, &[], &peer, false);
            check(system, &[Rule::User(7), Rule::Group(7)], &peer, false);
            check(system, &[unit("other.service")], &peer, false);
            check(system, &[Rule::User(7), Rule::User(uid)], &peer, true);
            check(system, &[unit("nightly.service")], &peer, true);
            assert!(system.can_connect(&peer));
            assert_eq!(system.can_administer(&peer), uid != 1000);
        }
        let peer = Peer::known(1000, &[27], "");
        check(system, &[Rule::Group(27)], &peer, true);
        check(system, &[Rule::Group(1000)], &peer, true);
        check(system, &[Rule::Group(28)], &peer, false);
    }

    #[test]
    fn a_lease_serves_its_owners_user_and_root_and_is_steered_by_nobody() {
        let lease = Access::Lease { uid: 1000 };
        for (uid, expected) in [(1000, true), (0, true), (1001, false), (65_534, false)] {
            let peer = Peer::known(uid, &[1000], NIGHTLY);
            check(lease, &[], &peer, expected);
            assert_eq!(lease.can_connect(&peer), expected);
            assert!(!lease.can_administer(&peer));
        }
        assert!(!lease.allows_lease_and_refresh());
    }

    #[test]
    fn a_unit_of_a_users_own_manager_is_nobody_to_a_system_daemon() {
        let system = Access::System { uid: 0 };
        let peer = Peer::known(1000, &[], USERS_NIGHTLY);
        check(system, &[unit("nightly.service")], &peer, false);
        check(system, &[unit("user@1000.service")], &peer, true);
        let ended = Peer::known(1000, &[], "");
        check(system, &[unit("nightly.service")], &ended, false);
    }
}
