//! Decides who we are: one file a kind of identity.

mod access_key;

pub use access_key::KeyFileError;

use std::path::Path;

use stsd_sts::SourceCredentials;

/// Where the credentials come from that STS exchanges for a role session.
#[derive(Debug, Clone)]
pub enum Source {
    /// A RAM user's long-lived AccessKey.
    AccessKey(SourceCredentials),
}

impl Source {
    /// Reads a RAM user's AccessKey from its file.
    ///
    /// # Errors
    /// [`KeyFileError`] says what is wrong with the file, never what is in it.
    pub fn access_key_file(path: &Path) -> Result<Self, KeyFileError> {
        access_key::read(path).map(Self::AccessKey)
    }

    /// Returns the credentials to sign with now.
    #[must_use]
    pub fn credentials(&self) -> &SourceCredentials {
        match self {
            Self::AccessKey(credentials) => credentials,
        }
    }
}

/// Equal sources give equal rights, so a reload may keep the sessions made from them.
impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.credentials(), other.credentials());
        ours.access_key_id == theirs.access_key_id
            && ours.access_key_secret == theirs.access_key_secret
            && ours.security_token == theirs.security_token
    }
}
