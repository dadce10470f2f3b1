//! Decides whether a peer may have what it asks for.

use crate::peer::Peer;

/// Whom a daemon serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A user's daemon: that user, and nobody else, root included. (Root can read our
    /// memory anyway; refusing it here keeps mistakes apart, not root out.)
    User {
        /// The user the daemon runs as.
        uid: u32,
    },
    /// A machine's daemon: nobody gets credentials without a rule, and there are no rules
    /// yet. Its own user may ask how it is.
    System {
        /// The user the daemon runs as.
        uid: u32,
    },
}

impl Access {
    /// Tells whether a peer may speak to us at all, and see and steer what we do.
    #[must_use]
    pub fn may_speak(&self, peer: &Peer) -> bool {
        let (Self::User { uid } | Self::System { uid }) = self;
        peer.uid == *uid
    }

    /// Tells whether a peer may have the credentials of a profile.
    #[must_use]
    pub fn may_have_credentials(&self, peer: &Peer) -> bool {
        match self {
            Self::User { .. } => self.may_speak(peer),
            Self::System { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Peer};

    #[test]
    fn a_user_daemon_serves_its_user_and_a_system_daemon_nobody_without_a_rule() {
        let peer = |uid| Peer {
            uid,
            gid: uid,
            pid: Some(1),
        };
        let check = |access: Access, uid, speak, have| {
            assert_eq!(access.may_speak(&peer(uid)), speak, "{access:?} {uid}");
            assert_eq!(
                access.may_have_credentials(&peer(uid)),
                have,
                "{access:?} {uid}"
            );
        };
        check(Access::User { uid: 1000 }, 1000, true, true);
        check(Access::User { uid: 1000 }, 1001, false, false);
        check(Access::User { uid: 1000 }, 0, false, false);
        check(Access::System { uid: 0 }, 0, true, false);
        check(Access::System { uid: 990 }, 1000, false, false);
    }
}
