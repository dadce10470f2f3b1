//! The state of the metadata service: its tokens and the instance's current credentials.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::state::sessions::Credentials;

/// Maximum number of tokens. At the limit all tokens are dropped, and clients fetch new ones.
const MAX_TOKENS: usize = 10_000;

/// The tokens and the credentials that the service has issued.
#[derive(Debug, Default)]
pub(crate) struct ImdsState {
    expirations: HashMap<String, Timestamp>,
    current: Option<InstanceCredentials>,
}

/// Credentials of the instance's role.
#[derive(Debug, Clone)]
pub(crate) struct InstanceCredentials {
    pub(crate) credentials: Credentials,
    pub(crate) issued: Timestamp,
}

impl ImdsState {
    /// Adds a token.
    pub(crate) fn add_token(&mut self, token: String, expiration: Timestamp) {
        if self.expirations.len() >= MAX_TOKENS {
            self.expirations.clear();
        }
        self.expirations.insert(token, expiration);
    }

    /// Returns `true` if the token was issued and has not expired.
    pub(crate) fn is_valid_token(&self, token: &str, now: Timestamp) -> bool {
        self.expirations
            .get(token)
            .is_some_and(|expiration| *expiration > now)
    }

    /// Returns the current credentials; `None` before the first request for them.
    pub(crate) fn current(&self) -> Option<InstanceCredentials> {
        self.current.clone()
    }

    /// Replaces the current credentials. The session of the previous ones stays valid.
    pub(crate) fn set_current(&mut self, credentials: InstanceCredentials) {
        self.current = Some(credentials);
    }
}
