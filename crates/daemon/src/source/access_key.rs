//! Decides how a RAM user's AccessKey is kept. Each keeper holds the same text: TOML with
//! `access_key_id` and `access_key_secret`; or, in the environment, one of them each.

mod file;

pub use file::KeyFileError;
#[cfg(fuzzing)]
pub(crate) use file::parse;

use std::{path::PathBuf, sync::Arc};

use stsd_sts::{Proof, SecretText, SourceCredentials};

use super::{Ask, Asking, Identity, Obtained, SourceError, Surroundings};
use crate::{file::Aside, store::Store};

/// A RAM user's long-lived AccessKey.
#[derive(Debug)]
pub struct AccessKey {
    keeper: Keeper,
}

#[derive(Debug)]
enum Keeper {
    File {
        subject: String,
        aside: Aside,
    },
    Variables {
        id: String,
        secret: String,
        surroundings: Surroundings,
    },
}

impl AccessKey {
    /// Takes the key from a file, which is read again at each exchange.
    ///
    /// # Errors
    /// [`KeyFileError`] says what is wrong with the file now, never what is in it.
    pub fn in_file(path: PathBuf) -> Result<Self, KeyFileError> {
        let subject = format!("the key file {}", path.display());
        Self::file(path, subject)
    }

    /// Takes the key from what the service manager has put there for us under a name.
    ///
    /// # Errors
    /// As [`in_file`](Self::in_file).
    pub fn in_credential(name: &str, path: PathBuf) -> Result<Self, KeyFileError> {
        Self::file(path, format!("the credential {name}"))
    }

    fn file(path: PathBuf, subject: String) -> Result<Self, KeyFileError> {
        file::read(&path)?;
        let aside = Aside::new(path);
        Ok(Self {
            keeper: Keeper::File { subject, aside },
        })
    }

    /// Takes the key from two variables of the environment.
    ///
    /// # Errors
    /// [`SourceError`], when they are not set.
    pub fn in_variables(
        id: &str,
        secret: &str,
        surroundings: &Surroundings,
    ) -> Result<Self, SourceError> {
        from_variables(id, secret, surroundings)?;
        Ok(Self {
            keeper: Keeper::Variables {
                id: id.to_owned(),
                secret: secret.to_owned(),
                surroundings: surroundings.clone(),
            },
        })
    }

    async fn read(&self) -> Result<SourceCredentials, SourceError> {
        match &self.keeper {
            Keeper::File { subject, aside } => {
                let read = aside.read(file::read).await;
                read.unwrap_or_else(|late| Err(KeyFileError::Unreadable(late)))
                    .map_err(|error| SourceError::new(subject, error.to_string(), error.hint()))
            }
            Keeper::Variables {
                id,
                secret,
                surroundings,
            } => from_variables(id, secret, surroundings),
        }
    }
}

impl Identity for AccessKey {
    fn obtain<'a>(&'a self, ask: Ask<'a>) -> Asking<'a> {
        Box::pin(async move {
            let asked = ask.clock.boot();
            let credentials = self.read().await?;
            Ok(Obtained {
                proof: Arc::new(Proof::Credentials(credentials)),
                asked,
                end: None,
            })
        })
    }

    fn subject(&self) -> String {
        match &self.keeper {
            Keeper::File { subject, .. } => subject.clone(),
            Keeper::Variables { id, secret, .. } => format!("the variables {id} and {secret}"),
        }
    }

    fn changed(&self, _: &Store) -> bool {
        match &self.keeper {
            Keeper::File { aside, .. } => aside.changed(),
            Keeper::Variables { .. } => false,
        }
    }
}

fn from_variables(
    id: &str,
    secret: &str,
    surroundings: &Surroundings,
) -> Result<SourceCredentials, SourceError> {
    let value = |name: &str| {
        surroundings.text(name).ok_or_else(|| {
            let hint = "set it for stsd itself, not for the shell that asks";
            SourceError::new(
                format!("the variable {name}"),
                "is not set for the daemon, or is not text",
                hint,
            )
        })
    };
    let credentials = SourceCredentials {
        access_key_id: value(id)?,
        access_key_secret: SecretText::from(value(secret)?),
        security_token: None,
    };
    if !file::is_key(&credentials) {
        return Err(SourceError::new(
            format!("the variable {id}"),
            "does not hold an access key id: letters and digits",
            "look whether the two variables are exchanged",
        ));
    }
    Ok(credentials)
}
