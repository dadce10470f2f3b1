//! What of the daemon's surroundings an identity may be made of.

use std::{ffi::OsString, path::PathBuf, sync::Arc};

use crate::{profile::NameParts, runtime::child_process::Environment};

/// What the environment says, read where it is needed and nowhere kept: it may hold a secret.
#[derive(Debug, Clone)]
pub struct ProcessEnvironment {
    /// What `{user}`, `{host}` and `{pid}` stand for.
    pub parts: NameParts,
    /// Looks a variable of the environment up.
    pub variable: fn(&str) -> Option<OsString>,
    /// What commands get of the environment.
    pub environment: Arc<Environment>,
    /// What the daemon itself puts up where it listens.
    pub runtime_files: Vec<PathBuf>,
}

impl ProcessEnvironment {
    /// Returns a variable that holds text; an empty one is none.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        let value = (self.variable)(name)?.into_string().ok()?;
        (!value.is_empty()).then_some(value)
    }

    /// Returns where the service manager puts credentials for us.
    #[must_use]
    pub fn credentials_directory(&self) -> Option<PathBuf> {
        self.text("CREDENTIALS_DIRECTORY").map(Into::into)
    }
}
