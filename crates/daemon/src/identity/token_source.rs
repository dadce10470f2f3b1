//! The token or assertion of an identity provider: from a file that another program renews, or from
//! a command. Each resolution reads it again, because tokens are short-lived.

use std::path::PathBuf;

use stsd_sts::SecretText;

use super::{IdentityCommand, PrivateFileError, secret_file};
use crate::{
    profile::SourceError,
    runtime::{
        clock::{BootTime, Clock},
        file_watch::WatchedFile,
    },
};

/// Maximum size of a token, above the limits of STS: 100,000 characters for an assertion, 20,000 for
/// a token.
const MAX_TOKEN_BYTES: usize = 128 * 1024;

/// The source of a token.
#[derive(Debug)]
pub enum TokenSource {
    /// A file with the token.
    File(WatchedFile),
    /// A command that prints the token.
    Command(IdentityCommand),
}

impl TokenSource {
    /// Returns the source of a token in a file.
    #[must_use]
    pub fn in_file(path: PathBuf) -> Self {
        Self::File(WatchedFile::new(path))
    }

    /// Returns the current token, without white space around it.
    ///
    /// # Errors
    /// [`SourceError`], which never quotes the token.
    pub(super) async fn read(
        &self,
        expected: &str,
        clock: &dyn Clock,
    ) -> Result<SecretText, SourceError> {
        let text = match self {
            Self::File(watched_file) => {
                let read = watched_file.read(|path| secret_file::read_token(path, MAX_TOKEN_BYTES));
                let read = read.await;
                let text = read.unwrap_or_else(|late| Err(PrivateFileError::from(late)));
                text.map_err(|error| {
                    let hint = format!("let the program that renews it write {expected} there");
                    let hint = error.hint(&hint, &hint);
                    SourceError::new(self.describe(), error.to_string(), hint)
                })?
            }
            Self::Command(program) => {
                let printed = program.text(MAX_TOKEN_BYTES, clock).await?;
                let token = self.token(&printed.text, expected);
                return token.map_err(|error| printed.explain(&error));
            }
        };
        self.token(&text, expected)
    }

    fn token(&self, text: &str, expected: &str) -> Result<SecretText, SourceError> {
        let text = text.trim();
        if text.is_empty() {
            let hint = format!("the output or file must hold {expected} and nothing else");
            return Err(SourceError::new(self.describe(), "gave nothing", hint));
        }
        Ok(SecretText::from(text.to_owned()))
    }

    /// Returns the name of the source, for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::File(watched_file) => format!("the file {}", watched_file.path().display()),
            Self::Command(program) => program.describe(),
        }
    }

    pub(super) fn changed(&self, now: BootTime) -> bool {
        match self {
            Self::File(watched_file) => watched_file.has_changed(now),
            Self::Command(_) => false,
        }
    }
}
