//! Decides where the word of an identity provider comes from: a file that somebody renews, or
//! a command that is asked for it. Both are asked anew for each exchange, because such words
//! are short-lived.

use std::{io, os::unix::fs::PermissionsExt as _, path::PathBuf};

use stsd_sts::SecretText;

use super::IdentityCommand;
use crate::{
    profile::SourceError,
    runtime::{
        clock::{BootTime, Clock},
        file_watch,
        file_watch::WatchedFile,
    },
};

/// More than STS takes: an assertion has 100,000 characters at most, a token 20,000.
const MAX_TOKEN_BYTES: usize = 128 * 1024;

/// Where the word of an identity provider comes from.
#[derive(Debug)]
pub enum TokenSource {
    /// A file that holds it and nothing else. Others may read it or not: that is the matter of
    /// who writes it.
    File(WatchedFile),
    /// A command that prints it.
    Command(IdentityCommand),
}

impl TokenSource {
    /// Takes it from a file.
    #[must_use]
    pub fn in_file(path: PathBuf) -> Self {
        Self::File(WatchedFile::new(path))
    }

    /// Returns it as it is now, without white space around it.
    ///
    /// # Errors
    /// [`SourceError`], which never quotes it.
    pub(super) async fn read(
        &self,
        expected: &str,
        clock: &dyn Clock,
    ) -> Result<SecretText, SourceError> {
        let text = match self {
            Self::File(watched_file) => {
                let read = watched_file.read(|path| {
                    let (file, metadata) = file_watch::open(path, MAX_TOKEN_BYTES)?;
                    // Everybody may read it in a pod; who writes it decides who we are.
                    if metadata.permissions().mode() & 0o002 != 0 {
                        return Err(io::Error::other(
                            "everybody may write to it, and could say who we are (chmod o-w)",
                        ));
                    }
                    file_watch::read(file, MAX_TOKEN_BYTES)
                });
                let text = read.await.and_then(|it| it);
                text.map_err(|error| {
                    let hint =
                        format!("have {expected} written there, by the program that renews it");
                    SourceError::new(self.describe(), format!("cannot be read: {error}"), hint)
                })?
            }
            Self::Command(program) => program.text(MAX_TOKEN_BYTES, clock).await?,
        };
        let text = text.trim();
        if text.is_empty() {
            let hint = format!("it should hold {expected} and nothing else");
            return Err(SourceError::new(self.describe(), "gave nothing", hint));
        }
        Ok(SecretText::from(text.to_owned()))
    }

    /// Names it, for a human.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::File(watched_file) => format!("the file {}", watched_file.path().display()),
            Self::Command(program) => program.describe(),
        }
    }

    pub(super) fn changed(&self, now: BootTime) -> bool {
        match self {
            Self::File(watched_file) => watched_file.changed(now),
            Self::Command(_) => false,
        }
    }
}
