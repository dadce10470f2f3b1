//! Errors of the command itself, with a hint and an exit code.

use std::fmt;

use anyhow::{Result, bail};

/// An error with a hint.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) text: String,
    pub(crate) hint: &'static str,
    pub(crate) exit_code: u8,
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for CliError {}

/// A wrong or incomplete command line, with exit code 2.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Returns a [`UsageError`].
pub(crate) fn usage<T>(text: impl Into<String>) -> Result<T> {
    bail!(UsageError(text.into()))
}
