//! The configuration: TOML in, [`Config`] or all errors out. Each error has the file, the line, the
//! key, the allowed values and a hint.

mod error;
mod reader;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use stsd_codes::Code;
use stsd_secret::SecretText;

#[cfg(fuzzing)]
pub(crate) use self::reader::parse;
pub use self::{
    error::{ConfigError, ConfigErrors},
    reader::{Scope, load},
};
use crate::{
    profile::{Endpoints, Profile, ProfileName},
    runtime::path_state::PathState,
};

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The configuration file, which may be missing beside fragments.
    pub path: PathBuf,
    /// The files whose text is the configuration, with their states before they were read.
    pub read_files: Vec<PathState>,
    /// The events that cause a reload.
    pub reload: ReloadTrigger,
    /// Store the sessions at a stop, for the next start.
    pub keep_sessions: bool,
    /// The fragments, in the order of their names.
    pub fragments: Vec<PathBuf>,
    /// The endpoints of STS.
    pub endpoints: Endpoints,
    /// The rate limit of the calls to STS.
    pub sts_calls_per_second: u32,
    /// The time over which the machines of a fleet spread the calls for which no caller waits.
    pub fleet_spread: Duration,
    /// The HTTP endpoint; `None` without one.
    pub http: Option<HttpConfig>,
    /// The address of the metrics; `None` without a listener for them.
    pub metrics: Option<SocketAddr>,
    /// The destination of the audit besides the log; `None` for the log alone.
    pub audit: Option<AuditDestination>,
    /// The files of the exports.
    pub files: Vec<FileRef>,
    /// The paths that programs may write to.
    pub writable: Vec<FileRef>,
    /// Likely mistakes that do not keep the daemon from working.
    pub warnings: Vec<ConfigError>,
    /// The profiles, by name.
    pub profiles: BTreeMap<ProfileName, Arc<Profile>>,
}

/// The events that cause a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadTrigger {
    /// A request: SIGHUP or `stsctl reload`.
    Request,
    /// A request, or a change of a file.
    Change,
}

/// The table `[http]`.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// The address; port 0 picks a port.
    pub address: SocketAddr,
    /// The master secret of the URLs, from `secret_file`; `None` for the daemon's own.
    pub master: Option<SecretText>,
}

/// The destination of the audit besides the log.
#[derive(Debug, Clone)]
pub enum AuditDestination {
    /// A file.
    File(FileRef),
    /// The daemon's standard output.
    Stdout,
}

/// A file or a directory that is used later, with its line in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRef {
    /// The file.
    pub path: PathBuf,
    /// The file of the configuration that names it.
    pub file: PathBuf,
    /// The line in that file, from 1.
    pub line: usize,
    /// The key, with its table.
    pub key: String,
}

impl Config {
    /// Returns the file of the audit; `None` without a file.
    #[must_use]
    pub fn audit_file(&self) -> Option<&FileRef> {
        match &self.audit {
            Some(AuditDestination::File(file)) => Some(file),
            Some(AuditDestination::Stdout) | None => None,
        }
    }

    /// Returns `true` if a profile has a role, whose sessions come from STS.
    #[must_use]
    pub fn calls_sts(&self) -> bool {
        calls_sts(&self.profiles)
    }

    /// Returns `true` if a request may go by the proxy of the environment.
    #[must_use]
    pub fn may_use_proxy(&self) -> bool {
        self.calls_sts() || self.profiles.values().any(|it| it.source.may_use_proxy())
    }

    /// Returns the error of a file that failed when the daemon opened the file.
    pub(crate) fn file_error(
        &self,
        code: Code,
        named: &FileRef,
        problem: &impl fmt::Display,
        hint: &str,
    ) -> ConfigError {
        ConfigError {
            file: named.file.clone(),
            code,
            line: Some(named.line),
            key: named.key.clone(),
            problem: problem.to_string(),
            hint: hint.to_owned(),
        }
    }
}

fn calls_sts(profiles: &BTreeMap<ProfileName, Arc<Profile>>) -> bool {
    profiles.values().any(|it| it.role_arn.is_some())
}
