//! The role sessions that have been handed out, and who is calling with them.
//!
//! A session stays valid until its own end, however many come after it. After its
//! end it is remembered for a while, so that its owner hears "expired" and not
//! "unknown"; then it is dropped.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::policy::Policy;
use crate::world::Principal;

/// Stands at the beginning of every emulated AccessKeySecret, so that a test can
/// search logs for it.
pub const SECRET_MARKER: &str = "EmulatedSecret";

/// Stands at the beginning of every emulated SecurityToken.
pub const TOKEN_MARKER: &str = "EmulatedToken";

/// How long an expired session is still recognised.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);

/// More sessions than this, and the oldest are forgotten.
const MOST_SESSIONS: usize = 20_000;

/// One hand-out of AssumeRole.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) access_key_id: String,
    pub(crate) access_key_secret: String,
    pub(crate) security_token: String,
    pub(crate) role: String,
    pub(crate) session_name: String,
    /// The session policy, which can only narrow the role's.
    pub(crate) policy: Option<Policy>,
    pub(crate) expires: Timestamp,
}

/// Who is calling, once the signature has been believed.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// The account itself.
    Root,
    /// A RAM user, by name.
    User(String),
    /// A role session.
    Session(Arc<Session>),
}

/// All sessions that are valid or have been lately.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_access_key_id: HashMap<String, Arc<Session>>,
    in_order: VecDeque<Arc<Session>>,
}

impl Session {
    /// A session with new, random credentials.
    pub(crate) fn mint(
        role: &str,
        session_name: &str,
        policy: Option<Policy>,
        expires: Timestamp,
    ) -> Session {
        Session {
            access_key_id: format!("STS.N{}", alphanumeric(24)),
            access_key_secret: format!("{SECRET_MARKER}{}", alphanumeric(30)),
            security_token: format!("{TOKEN_MARKER}{}", base64_noise()),
            role: role.to_owned(),
            session_name: session_name.to_owned(),
            policy,
            expires,
        }
    }

    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires
    }
}

impl Caller {
    /// The principal that a role's trust would name; the account is none.
    pub(crate) fn principal(&self) -> Option<Principal> {
        match self {
            Caller::Root => None,
            Caller::User(name) => Some(Principal::User(name.clone())),
            Caller::Session(session) => Some(Principal::Role(session.role.clone())),
        }
    }
}

impl Sessions {
    pub(crate) fn add(&mut self, session: Session, now: Timestamp) -> Arc<Session> {
        self.forget(now);
        let session = Arc::new(session);
        self.by_access_key_id
            .insert(session.access_key_id.clone(), session.clone());
        self.in_order.push_back(session.clone());
        session
    }

    pub(crate) fn find(&self, access_key_id: &str) -> Option<Arc<Session>> {
        self.by_access_key_id.get(access_key_id).cloned()
    }

    /// Whether any session was handed out with that token.
    pub(crate) fn has_token(&self, token: &str) -> bool {
        self.in_order.iter().any(|s| s.security_token == token)
    }

    /// How many have not expired.
    pub(crate) fn live(&self, now: Timestamp) -> usize {
        let live = self.in_order.iter().filter(|s| !s.is_expired(now));
        live.count()
    }

    fn forget(&mut self, now: Timestamp) {
        let horizon = clock::shifted(now, -REMEMBERED);
        self.in_order.retain(|session| session.expires > horizon);
        while self.in_order.len() >= MOST_SESSIONS {
            self.in_order.pop_front();
        }
        if self.in_order.len() < self.by_access_key_id.len() {
            let kept = self.in_order.iter();
            self.by_access_key_id = kept
                .map(|session| (session.access_key_id.clone(), session.clone()))
                .collect();
        }
    }
}

fn alphanumeric(length: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(length)
        .collect()
}

/// Some 400 characters of Base64, with `+`, `/` and, two times in three, `=`:
/// a client that forgets to escape them is found out.
fn base64_noise() -> String {
    let length = fastrand::usize(300..=302);
    let bytes: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..))
        .take(length)
        .collect();
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn session(expires: i64) -> Session {
        Session::mint("oss-read", "test", None, at(expires))
    }

    #[test]
    fn sessions_live_beside_each_other_and_end_one_by_one() {
        let mut sessions = Sessions::default();
        let first = sessions.add(session(100), at(0));
        let second = sessions.add(session(200), at(0));
        assert_ne!(first.security_token, second.security_token);
        assert_eq!(sessions.live(at(99)), 2);
        assert_eq!(sessions.live(at(100)), 1);
        assert!(sessions.find(&first.access_key_id).is_some());

        // An hour after its end the first is gone, the second is not yet.
        sessions.add(session(9000), at(3700));
        assert!(sessions.find(&first.access_key_id).is_none());
        assert!(!sessions.has_token(&first.security_token));
        assert!(sessions.find(&second.access_key_id).is_some());
    }

    #[test]
    fn memory_is_bounded() {
        let mut sessions = Sessions::default();
        let first = sessions.add(session(1000), at(0));
        for _ in 0..MOST_SESSIONS {
            let mut small = session(1000);
            small.security_token.truncate(20);
            small.security_token.shrink_to_fit();
            // Without the sweep over all of them, which is slow in a debug build.
            let small = Arc::new(small);
            sessions.in_order.push_back(small.clone());
            sessions
                .by_access_key_id
                .insert(small.access_key_id.clone(), small);
        }
        sessions.add(session(1000), at(1));
        assert_eq!(sessions.in_order.len(), MOST_SESSIONS);
        assert_eq!(sessions.by_access_key_id.len(), MOST_SESSIONS);
        assert!(sessions.find(&first.access_key_id).is_none());
    }

    #[test]
    fn credentials_are_marked_and_awkward() {
        let minted: Vec<Session> = (0..64).map(|_| session(1)).collect();
        let tokens = minted.iter().map(|s| &s.security_token);
        for token in tokens.clone() {
            assert!(token.starts_with(TOKEN_MARKER) && token.len() > 400);
        }
        for c in ['+', '/', '='] {
            assert!(tokens.clone().any(|token| token.contains(c)), "{c}");
        }
        assert!(minted[0].access_key_secret.starts_with(SECRET_MARKER));
        assert!(minted[0].access_key_id.starts_with("STS."));
    }
}
