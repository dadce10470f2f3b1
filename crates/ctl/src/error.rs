//! Decides how a failure of our own is told: what is wrong, what to do, and with which exit
//! code it ends.

use std::fmt;

use anyhow::{Result, bail};

/// What cannot be done, and what to do about it.
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

/// What was typed cannot be done; the exit code is that of a wrong command line.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// What was typed is wrong or not enough.
pub(crate) fn usage<T>(text: impl Into<String>) -> Result<T> {
    bail!(UsageError(text.into()))
}
