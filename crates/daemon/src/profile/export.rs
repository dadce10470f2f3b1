//! The exports of a profile's sessions, as the configuration declares them.

use std::path::PathBuf;

use stsd_document::Format;

/// What is to become of a profile's sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExportConfig {
    /// A file that holds the newest one.
    pub file: Option<ExportFile>,
    /// What is run when there is a new one: a program and its arguments, or nothing.
    pub command: Vec<String>,
}

/// A file with credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it looks like.
    pub format: Format,
}

impl ExportConfig {
    /// Tells whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.file.is_none() && self.command.is_empty()
    }
}
