//! The access policy: which peers may connect, read credentials and administer the daemon.

use std::os::fd::BorrowedFd;

use tracing::warn;

use super::peer::{Peer, PidBinding};
use crate::profile::{ProfileName, Rule};

/// The policy of one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A user's daemon serves that user only, and refuses root as well. Root can read the memory
    /// of the daemon anyway: the refusal guards against mistakes, not against root. Rules narrow
    /// the access and never widen the access.
    User {
        /// The user the daemon runs as.
        uid: u32,
    },
    /// A machine's daemon accepts any user; credentials need a rule, for root as well.
    System {
        /// The user the daemon runs as.
        uid: u32,
    },
    /// The socket of a lease serves its owner's user, in any container, and root: most
    /// containers run as root, and no socket can keep root out. Both may read the one profile
    /// of the lease and administer nothing.
    Lease {
        /// The user that holds the lease.
        uid: u32,
    },
}

impl Access {
    /// Returns `true` if a peer may connect.
    #[must_use]
    pub fn can_connect(&self, peer: &Peer) -> bool {
        match self {
            Self::User { uid } => peer.uid == *uid,
            Self::System { .. } => true,
            Self::Lease { uid } => peer.uid == *uid || peer.uid == 0,
        }
    }

    /// Returns `true` if a peer may see and refresh every profile and reload the configuration.
    /// The right to read credentials is separate.
    #[must_use]
    pub fn can_administer(&self, peer: &Peer) -> bool {
        match self {
            Self::User { uid } => peer.uid == *uid,
            Self::System { uid } => peer.uid == *uid || peer.uid == 0,
            Self::Lease { .. } => false,
        }
    }

    /// Returns `true` if a peer may refresh and lease the profiles that the peer may read. The
    /// socket of a lease permits neither.
    #[must_use]
    pub fn allows_lease_and_refresh(&self) -> bool {
        !matches!(self, Self::Lease { .. })
    }

    /// Returns `true` if a peer may read the credentials of a profile with these rules: one
    /// matching rule is enough.
    #[must_use]
    pub fn can_read(&self, rules: &[Rule], peer: &Peer, socket: BorrowedFd<'_>) -> bool {
        if !self.can_connect(peer) {
            return false;
        }
        let unlimited = !matches!(self, Self::System { .. }) && rules.is_empty();
        unlimited || self.matching_rule(rules, peer, socket).is_some()
    }

    /// Returns the first rule that a peer meets; `None` if the peer meets none.
    #[must_use]
    pub fn matching_rule<'a>(
        &self,
        rules: &'a [Rule],
        peer: &Peer,
        socket: BorrowedFd<'_>,
    ) -> Option<&'a Rule> {
        rules.iter().find(|rule| self.matches(rule, peer, socket))
    }

    /// Logs the profiles that no caller may read.
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
                // Any user can start a unit of any name in the user's own manager.
                let in_user_manager = matches!(self, Self::User { .. }) && named(&units.user);
                in_user_manager || named(&units.system)
            }
            // Pods have the same uids, so that the weaker proof is none here.
            Rule::Pod(uid) => {
                let process = peer.process(socket);
                let is_proven = process.binding == Some(PidBinding::Pidfd);
                is_proven && process.units.pod.as_ref() == Some(uid)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::{fd::AsFd as _, unix::net::UnixStream};

    use super::{Access, Peer, PidBinding, Rule};
    use crate::profile::{PodUid, UnitName};

    const NIGHTLY: &str = "0::/system.slice/nightly.service\n";
    const NIGHTLY_IN_USER_MANAGER: &str =
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
    fn user_daemon_with_any_rules_serves_only_its_user() {
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
    fn user_daemon_with_rules_serves_only_matching_callers() {
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
        for cgroup in [NIGHTLY, NIGHTLY_IN_USER_MANAGER] {
            let in_unit = Peer::known(1000, &[], cgroup);
            check(user, &[unit("nightly.service")], &in_unit, true);
        }
    }

    #[test]
    fn system_daemon_without_matching_rule_serves_no_caller() {
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
    fn lease_serves_owner_and_root_and_no_administration() {
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
    fn pod_rule_needs_the_pod_and_a_pidfd() {
        let system = Access::System { uid: 0 };
        let uid = "3f2b1c4d-0a1b-4c5d-8e9f-001122334455";
        let rule = [Rule::Pod(PodUid::new(uid).unwrap())];
        let cgroup = |uid: &str| format!("0::/kubepods/burstable/pod{uid}/0123\n");
        let bound = |uid: &str| Peer::known(0, &[], &cgroup(uid)).bound_by(PidBinding::Pidfd);
        check(system, &rule, &bound(uid), true);
        check(system, &rule, &bound(&uid.replace('3', "4")), false);
        let weaker = Peer::known(0, &[], &cgroup(uid)).bound_by(PidBinding::StartTime);
        check(system, &rule, &weaker, false);
        check(system, &rule, &Peer::known(0, &[], NIGHTLY), false);
    }

    #[test]
    fn system_daemon_does_not_match_units_of_a_user_manager() {
        let system = Access::System { uid: 0 };
        let peer = Peer::known(1000, &[], NIGHTLY_IN_USER_MANAGER);
        check(system, &[unit("nightly.service")], &peer, false);
        check(system, &[unit("user@1000.service")], &peer, true);
        let ended = Peer::known(1000, &[], "");
        check(system, &[unit("nightly.service")], &ended, false);
    }
}
