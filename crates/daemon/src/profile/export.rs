//! The exports of a profile's sessions, as the configuration declares them.

use std::path::PathBuf;

use stsd_document::{Format, MappedKey};

use crate::runtime::program::Program;

/// The exports of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExportConfig {
    /// A file that holds the newest session.
    pub file: Option<ExportFile>,
    /// A program that is run after each renewal.
    pub on_renewal: Option<Program>,
    /// A program that is run when renewals begin to fail.
    pub on_failure: Option<Program>,
}

/// A file with credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFile {
    /// The path of the file.
    pub path: PathBuf,
    /// The content of the file.
    pub content: FileContent,
}

/// The content of a file with credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileContent {
    /// A document of a known format.
    Format(Format),
    /// A JSON object with these keys, for a program that expects keys of its own.
    Keys(Box<[MappedKey]>),
}

impl ExportConfig {
    /// Returns `true` without a file and a command.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.uses_sessions() && self.on_failure.is_none()
    }

    /// Returns `true` if each session is used at once, also without requests.
    #[must_use]
    pub fn uses_sessions(&self) -> bool {
        self.file.is_some() || self.on_renewal.is_some()
    }
}
