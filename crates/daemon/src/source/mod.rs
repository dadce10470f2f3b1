//! Decides who we are: one file a kind of identity.

pub(crate) mod access_key;

pub use access_key::KeyFileError;

use std::path::{Path, PathBuf};

use stsd_sts::SourceCredentials;

/// Where the credentials come from that STS exchanges for a role session.
#[derive(Debug, Clone)]
pub enum Source {
    /// A RAM user's long-lived AccessKey.
    AccessKey {
        /// Where it stands.
        file: PathBuf,
        /// What stood there when the configuration was read.
        credentials: SourceCredentials,
    },
}

impl Source {
    /// Reads a RAM user's AccessKey from its file.
    ///
    /// # Errors
    /// [`KeyFileError`] says what is wrong with the file, never what is in it.
    pub fn access_key_file(path: &Path) -> Result<Self, KeyFileError> {
        Ok(Self::AccessKey {
            file: path.to_owned(),
            credentials: access_key::read(path)?,
        })
    }

    /// Returns the credentials to sign with.
    #[must_use]
    pub fn credentials(&self) -> &SourceCredentials {
        match self {
            Self::AccessKey { credentials, .. } => credentials,
        }
    }

    /// Obtains the credentials anew, after the service has said that they ended.
    ///
    /// # Errors
    /// [`KeyFileError`], as when they were obtained first.
    pub fn ask_again(&self) -> Result<SourceCredentials, KeyFileError> {
        match self {
            Self::AccessKey { file, .. } => access_key::read(file),
        }
    }
}

/// Equal sources give equal rights, so a reload may keep the sessions made from them.
impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.credentials() == other.credentials()
    }
}
