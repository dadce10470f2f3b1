//! The notes of the steps: what was not run.

use crate::process::say;

/// The notes that the steps of a run leave for its end.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    not_run: Vec<String>,
}

impl Notes {
    /// Adds a thing that was not run, with the reason.
    pub(crate) fn not_run(&mut self, what: impl Into<String>) {
        self.not_run.push(what.into());
    }

    /// Prints each of them on a line of its own.
    pub(crate) fn print(&self) {
        for line in &self.not_run {
            say(&format!("NOT RUN: {line}"));
        }
    }
}
