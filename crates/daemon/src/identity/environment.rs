//! The environment of the daemon, as far as identities depend on it.

use std::{ffi::OsString, path::PathBuf, sync::Arc};

use stsd_sts::Proxies;

use crate::{profile::NameParts, runtime::program::ProgramContext};

/// The environment of the process. Values are read when they are needed and not kept: they may hold
/// a secret.
#[derive(Debug, Clone)]
pub struct ProcessEnvironment {
    /// The values of the placeholders in session names.
    pub parts: NameParts,
    /// Returns the value of a variable.
    pub variable: fn(&str) -> Option<OsString>,
    /// The proxy of the environment.
    pub proxies: Arc<Proxies>,
    /// The surroundings of programs.
    pub programs: Arc<ProgramContext>,
    /// The files that the daemon creates for itself.
    pub runtime_files: Vec<PathBuf>,
    /// The port of the HTTP endpoint, if the configuration names none.
    pub http_port: u16,
}

impl ProcessEnvironment {
    /// Returns the value of a variable; `None` if the value is empty or not UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        let value = (self.variable)(name)?.into_string().ok()?;
        (!value.is_empty()).then_some(value)
    }

    /// Returns the directory of the credentials that the service manager gives to this service.
    #[must_use]
    pub fn credentials_directory(&self) -> Option<PathBuf> {
        self.text("CREDENTIALS_DIRECTORY").map(Into::into)
    }
}
