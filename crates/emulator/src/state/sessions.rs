//! The role sessions that STS and the metadata service have issued.
//!
//! A new session leaves the older ones valid. An expired session is kept for a day, so that a
//! request with it is refused as expired and not as unknown.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    account::policy::Policy,
    clock::{RequestTime, iso_seconds, saturating_add},
    encoding::{LETTERS_AND_DIGITS, random_text},
    fault::script::CredentialFault,
};

/// Maximum number of sessions, live and expired. Above it, those that expire first are dropped.
const MAX_SESSIONS: usize = 10_000;

/// The time for which an expired session is kept.
const EXPIRED_RETENTION: SignedDuration = SignedDuration::from_hours(24);

/// Length of a security token. STS documents no bound, and its tokens are long.
const SECURITY_TOKEN_CHARS: usize = 900;

/// A role session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) secret: String,
    pub(crate) token: String,
    pub(crate) role: String,
    pub(crate) name: String,
    pub(crate) policy: Option<Policy>,
    pub(crate) source_identity: Option<String>,
    /// The actual expiration, which a `wrong-date` fault does not shift.
    pub(crate) expiration: Timestamp,
}

/// The sessions, by AccessKey id.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_access_key_id: HashMap<String, Session>,
}

/// The role, the name and the limits of a session to be issued.
pub(crate) struct NewSession<'a> {
    pub(crate) role: &'a str,
    pub(crate) name: &'a str,
    pub(crate) policy: Option<Policy>,
    pub(crate) source_identity: Option<String>,
}

/// The credentials of a session, as a client receives them.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) secret: String,
    pub(crate) token: String,
    pub(crate) expiration: Timestamp,
}

impl Sessions {
    pub(crate) fn get(&self, access_key_id: &str) -> Option<&Session> {
        self.by_access_key_id.get(access_key_id)
    }

    /// Issues a session with random credentials.
    pub(crate) fn issue(
        &mut self,
        session: NewSession<'_>,
        expiration: Timestamp,
        now: Timestamp,
    ) -> Credentials {
        self.evict(now);
        let credentials = Credentials {
            access_key_id: format!("STS.{}", random_text(LETTERS_AND_DIGITS, 25)),
            secret: random_secret(),
            token: random_token(),
            expiration,
        };
        let session = Session {
            secret: credentials.secret.clone(),
            token: credentials.token.clone(),
            role: session.role.to_owned(),
            name: session.name.to_owned(),
            policy: session.policy,
            source_identity: session.source_identity,
            expiration,
        };
        self.by_access_key_id
            .insert(credentials.access_key_id.clone(), session);
        credentials
    }

    /// Returns the number of sessions that have not expired.
    pub(crate) fn live_count(&self, now: Timestamp) -> usize {
        self.by_access_key_id
            .values()
            .filter(|session| session.expiration > now)
            .count()
    }

    fn evict(&mut self, now: Timestamp) {
        if self.by_access_key_id.len() < MAX_SESSIONS {
            return;
        }
        let oldest_kept = saturating_add(now, -EXPIRED_RETENTION);
        self.by_access_key_id
            .retain(|_, session| session.expiration > oldest_kept);
        if self.by_access_key_id.len() < MAX_SESSIONS {
            return;
        }
        // A tenth at once, because the sort takes time in proportion to all sessions.
        let mut expirations: Vec<(Timestamp, String)> = self
            .by_access_key_id
            .iter()
            .map(|(id, session)| (session.expiration, id.clone()))
            .collect();
        expirations.sort();
        for (_, id) in expirations.iter().take(MAX_SESSIONS / 10) {
            self.by_access_key_id.remove(id);
        }
    }
}

impl Credentials {
    /// Returns the four fields of a reply, altered by the fault, if there is one.
    pub(crate) fn to_json(&self, now: RequestTime, fault: Option<CredentialFault>) -> Value {
        if fault == Some(CredentialFault::Empty) {
            return json!({
                "AccessKeyId": "", "AccessKeySecret": "", "SecurityToken": "", "Expiration": "",
            });
        }
        let expiration = match fault {
            Some(CredentialFault::Beyond) => {
                saturating_add(self.expiration, SignedDuration::from_hours(24 * 365))
            }
            _ => self.expiration,
        };
        json!({
            "AccessKeyId": self.access_key_id,
            "AccessKeySecret": self.secret,
            "SecurityToken": self.token,
            // On the server's clock, which a `wrong-date` fault shifts.
            "Expiration": iso_seconds(saturating_add(expiration, now.offset)),
        })
    }
}

/// Returns `true` if a text has the form of the tokens issued here.
pub(crate) fn has_token_form(text: &str) -> bool {
    text.len() == SECURITY_TOKEN_CHARS && text.starts_with("EmulatedToken")
}

fn random_secret() -> String {
    format!("EmulatedSecret{}", random_text(LETTERS_AND_DIGITS, 30))
}

/// Returns a token that contains `+`, `/` and `=`, as those of STS do, because clients tend to
/// escape these characters wrongly.
fn random_token() -> String {
    let mut alphabet = LETTERS_AND_DIGITS.to_vec();
    alphabet.extend_from_slice(b"+/");
    let random = random_text(&alphabet, SECURITY_TOKEN_CHARS - "EmulatedToken+/==".len());
    format!("EmulatedToken+/{random}==")
}
