//! The AccessKey of a RAM user. A file, a systemd credential and the keyring hold the same text, TOML
//! with `access_key_id` and `access_key_secret`; in the environment each has a variable.

use std::{path::PathBuf, sync::Arc, time::Duration};

use stsd_keyring::{BusAddress, KeyringError};
use stsd_sts::{Proof, SecretText, SourceCredentials};

pub use super::access_key_file::KeyFileError;
pub(crate) use super::access_key_file::is_key;
#[cfg(fuzzing)]
pub(crate) use super::access_key_file::parse;
use super::{PrivateFileError, ProcessEnvironment, access_key_file};
use crate::{
    profile::{
        IdentityProvider, ResolveContext, ResolveFuture, ResolvedIdentity, Signer, SourceError,
    },
    runtime::{clock::BootTime, file_watch::WatchedFile},
};

/// Timeout for the keyring. The request never opens a password prompt, so that a reply is immediate.
const KEYRING_TIMEOUT: Duration = Duration::from_secs(5);

/// A RAM user's long-lived AccessKey.
#[derive(Debug)]
pub struct AccessKey {
    location: KeyLocation,
}

#[derive(Debug)]
enum KeyLocation {
    File {
        subject: String,
        watched_file: WatchedFile,
    },
    Variables {
        id: String,
        secret: String,
        environment: ProcessEnvironment,
    },
    Keyring {
        key: String,
        bus: BusAddress,
    },
}

impl AccessKey {
    /// Returns the provider of a key in a file, which each resolution reads again.
    ///
    /// # Errors
    /// [`KeyFileError`], which never quotes the file.
    pub fn in_file(path: PathBuf) -> Result<Self, KeyFileError> {
        let subject = format!("the key file {}", path.display());
        Self::file(path, subject)
    }

    /// Returns the provider of a key in a systemd credential.
    ///
    /// # Errors
    /// As [`in_file`](Self::in_file).
    pub fn in_credential(name: &str, path: PathBuf) -> Result<Self, KeyFileError> {
        Self::file(path, format!("the credential {name}"))
    }

    fn file(path: PathBuf, subject: String) -> Result<Self, KeyFileError> {
        access_key_file::read(&path)?;
        let watched_file = WatchedFile::new(path);
        Ok(Self {
            location: KeyLocation::File {
                subject,
                watched_file,
            },
        })
    }

    /// Returns the provider of a key in two variables of the environment.
    ///
    /// # Errors
    /// [`SourceError`], if a variable is not set or holds no key.
    pub fn in_variables(
        id: &str,
        secret: &str,
        environment: &ProcessEnvironment,
    ) -> Result<Self, SourceError> {
        from_variables(id, secret, environment)?;
        Ok(Self {
            location: KeyLocation::Variables {
                id: id.to_owned(),
                secret: secret.to_owned(),
                environment: environment.clone(),
            },
        })
    }

    /// Returns the provider of a key in the keyring of the user's session: the item with the
    /// attributes `application=stsd` and `key=<key>`. Only a resolution reads the item, because at
    /// a login the daemon may start before the keyring is unlocked.
    ///
    /// # Errors
    /// [`SourceError`], if the session has no bus.
    pub fn in_keyring(key: &str, environment: &ProcessEnvironment) -> Result<Self, SourceError> {
        let address = (environment.variable)("DBUS_SESSION_BUS_ADDRESS");
        let runtime = (environment.variable)("XDG_RUNTIME_DIR");
        let bus = BusAddress::of_session(address.as_deref(), runtime.as_deref())
            .map_err(|error| from_keyring(key, &error))?;
        Ok(Self {
            location: KeyLocation::Keyring {
                key: key.to_owned(),
                bus,
            },
        })
    }

    async fn read(&self) -> Result<SourceCredentials, SourceError> {
        match &self.location {
            KeyLocation::File {
                subject,
                watched_file,
            } => {
                let read = watched_file.read(access_key_file::read).await;
                read.unwrap_or_else(|late| Err(PrivateFileError::from(late).into()))
                    .map_err(|error| SourceError::new(subject, error.to_string(), error.hint()))
            }
            KeyLocation::Variables {
                id,
                secret,
                environment,
            } => from_variables(id, secret, environment),
            KeyLocation::Keyring { key, bus } => {
                let text = stsd_keyring::lookup(bus, key, KEYRING_TIMEOUT).await;
                let text = text.map_err(|error| from_keyring(key, &error))?;
                access_key_file::parse(text.expose()).map_err(|error| {
                    SourceError::new(keyring_item(key), error.to_string(), error.hint())
                })
            }
        }
    }
}

impl IdentityProvider for AccessKey {
    fn resolve<'a>(&'a self, context: ResolveContext<'a>) -> ResolveFuture<'a> {
        Box::pin(async move {
            let asked = context.clock.boot();
            let credentials = self.read().await?;
            Ok(ResolvedIdentity {
                proof: Arc::new(Proof::Credentials(credentials)),
                asked,
                end: None,
            })
        })
    }

    fn describe(&self) -> String {
        match &self.location {
            KeyLocation::File { subject, .. } => subject.clone(),
            KeyLocation::Variables { id, secret, .. } => format!("the variables {id} and {secret}"),
            KeyLocation::Keyring { key, .. } => keyring_item(key),
        }
    }

    fn signer(&self) -> Signer {
        Signer::RamUser
    }

    fn has_changed(&self, now: BootTime) -> bool {
        match &self.location {
            KeyLocation::File { watched_file, .. } => watched_file.has_changed(now),
            KeyLocation::Variables { .. } | KeyLocation::Keyring { .. } => false,
        }
    }
}

fn keyring_item(key: &str) -> String {
    format!("the keyring's item application=stsd key={key}")
}

fn from_keyring(key: &str, error: &KeyringError) -> SourceError {
    let problem = format!("cannot be read: {error}");
    SourceError::new(keyring_item(key), problem, error.hint())
}

fn from_variables(
    id: &str,
    secret: &str,
    environment: &ProcessEnvironment,
) -> Result<SourceCredentials, SourceError> {
    let value = |name: &str| {
        environment.text(name).ok_or_else(|| {
            let hint = "set the variable for stsd itself, not for the shell of a client";
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
    if credentials.access_key_id.starts_with("STS.") {
        let error = KeyFileError::SessionKey;
        return Err(SourceError::new(
            format!("the variable {id}"),
            error.to_string(),
            error.hint(),
        ));
    }
    if access_key_file::has_outer_blank(credentials.access_key_secret.expose()) {
        return Err(SourceError::new(
            format!("the variable {secret}"),
            "has a blank at its beginning or end",
            "remove the blank; a secret has none",
        ));
    }
    if !access_key_file::is_key(&credentials) {
        return Err(SourceError::new(
            format!("the variable {id}"),
            "does not hold an access key id: letters and digits",
            "check that the two variables are not exchanged",
        ));
    }
    Ok(credentials)
}
