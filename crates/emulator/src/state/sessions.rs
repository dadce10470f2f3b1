//! The sessions that `AssumeRole` has handed out.
//!
//! A new session never ends an older one. An expired one is remembered for a day,
//! so that its holder hears "expired" and not "unknown"; past [`LIMIT`] the session
//! that expires first is forgotten.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::{
    account::policy::Policy,
    clock::shifted,
    encoding::{LETTERS_AND_DIGITS, random_text},
};

/// How many sessions are remembered, live and expired together.
const LIMIT: usize = 10_000;

/// How long an expired session is remembered.
const MEMORY: SignedDuration = SignedDuration::from_hours(24);

/// How long a token is; the service promises no bound, and real ones are long.
const TOKEN_LENGTH: usize = 900;

#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) secret: String,
    pub(crate) token: String,
    pub(crate) role: String,
    pub(crate) name: String,
    pub(crate) policy: Option<Policy>,
    pub(crate) source_identity: Option<String>,
    /// True time, whatever a fault makes the server's clock say.
    pub(crate) expires: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_key: HashMap<String, Session>,
}

impl Sessions {
    pub(crate) fn find(&self, access_key_id: &str) -> Option<&Session> {
        self.by_key.get(access_key_id)
    }

    /// Keeps a session under a new key, and returns that key's id.
    pub(crate) fn keep(&mut self, session: Session, now: Timestamp) -> String {
        self.forget(now);
        let id = format!("STS.{}", random_text(LETTERS_AND_DIGITS, 25));
        self.by_key.insert(id.clone(), session);
        id
    }

    pub(crate) fn live(&self, now: Timestamp) -> usize {
        self.by_key.values().filter(|s| s.expires > now).count()
    }

    fn forget(&mut self, now: Timestamp) {
        if self.by_key.len() < LIMIT {
            return;
        }
        let horizon = shifted(now, -MEMORY);
        self.by_key.retain(|_, session| session.expires > horizon);
        if self.by_key.len() < LIMIT {
            return;
        }
        // A tenth at once, so that a full store does not search itself on every call.
        let mut ends: Vec<(Timestamp, String)> = self
            .by_key
            .iter()
            .map(|(id, session)| (session.expires, id.clone()))
            .collect();
        ends.sort();
        for (_, id) in ends.iter().take(LIMIT / 10) {
            self.by_key.remove(id);
        }
    }
}

pub(crate) fn new_secret() -> String {
    format!("EmulatedSecret{}", random_text(LETTERS_AND_DIGITS, 30))
}

/// A token with the characters that real ones have and clients mistreat: `+ / =`.
pub(crate) fn new_token() -> String {
    let mut alphabet = LETTERS_AND_DIGITS.to_vec();
    alphabet.extend_from_slice(b"+/");
    let random = random_text(&alphabet, TOKEN_LENGTH - "EmulatedToken+/==".len());
    format!("EmulatedToken+/{random}==")
}

/// Whether a text could be one of our tokens at all.
pub(crate) fn looks_like_token(text: &str) -> bool {
    text.len() == TOKEN_LENGTH && text.starts_with("EmulatedToken")
}
