//! Decides what the configuration means: TOML in, [`Config`] out, once. Every mistake is
//! named with file, line, key, what is allowed and what to do.

mod error;
mod reader;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, sync::Arc};

use stsd_sts::Endpoint;

#[cfg(fuzzing)]
pub(crate) use self::reader::parse;
pub use self::{
    error::{ConfigError, ConfigErrors},
    reader::load,
};
use crate::profile::{Profile, ProfileName};

/// What the daemon is to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// Where STS is.
    pub endpoint: Endpoint,
    /// How many calls a second STS may get from this machine.
    pub sts_calls_per_second: u32,
    /// Where credentials are given by HTTP.
    pub http: Option<SocketAddr>,
    /// Where the audit is written, besides the log.
    pub audit_file: Option<FileRef>,
    /// Every file with credentials that a profile wants.
    pub files: Vec<FileRef>,
    /// What callers may ask for.
    pub profiles: BTreeMap<ProfileName, Arc<Profile>>,
}

/// A file that is opened later, with the line that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRef {
    /// The file.
    pub path: PathBuf,
    /// The line in the configuration, from 1.
    pub line: usize,
    /// The key, with its table.
    pub key: String,
}

impl Config {
    /// Says that a file cannot be used for a reason that shows only when it is.
    pub(crate) fn file_error(
        &self,
        named: &FileRef,
        problem: &impl fmt::Display,
        hint: &str,
    ) -> ConfigError {
        ConfigError {
            file: self.path.clone(),
            line: named.line,
            key: named.key.clone(),
            problem: problem.to_string(),
            hint: hint.to_owned(),
        }
    }
}
