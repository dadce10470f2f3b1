//! The errors of a configuration.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use stsd_codes::Code;

use crate::runtime::path_state::PathState;

/// One error of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The configuration file or the fragment.
    pub file: PathBuf,
    /// The code.
    pub code: Code,
    /// The line, from 1; `None` for an error that no line causes.
    pub line: Option<usize>,
    /// The key, with its table.
    pub key: String,
    /// The problem, and the allowed values.
    pub problem: String,
    /// The remediation.
    pub hint: String,
}

/// All errors of a configuration, and its warnings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The errors; never empty.
    pub errors: Vec<ConfigError>,
    /// Likely mistakes besides the errors.
    pub warnings: Vec<ConfigError>,
    /// The files that were read, with their states before.
    pub read_files: Vec<PathState>,
}

impl ConfigErrors {
    /// Returns the error of a key whose value is valid and cannot be applied.
    pub(crate) fn whole_file(file: &Path, key: &str, problem: &str) -> Self {
        Self::from(vec![ConfigError {
            file: file.to_owned(),
            code: Code::ReloadFailed,
            line: None,
            key: key.to_owned(),
            problem: problem.to_owned(),
            hint: "see the log of the daemon".to_owned(),
        }])
    }
}

impl From<Vec<ConfigError>> for ConfigErrors {
    fn from(errors: Vec<ConfigError>) -> Self {
        Self {
            errors,
            warnings: Vec::new(),
            read_files: Vec::new(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        f.write_str(" ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{} [{}] (hint: {})", self.problem, self.code, self.hint)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
