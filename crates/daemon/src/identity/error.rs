//! What is said when an identity is not to be had.

use crate::profile::Cause;

/// Why we cannot say who we are. No field holds a secret: not what a file held, not what a
/// command printed, not the path of a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject} {problem}")]
pub struct SourceError {
    /// Which file, command, URL or profile.
    pub subject: String,
    /// What is wrong with it, and what was expected.
    pub problem: String,
    /// What to do.
    pub hint: String,
    /// What that means to a caller.
    pub cause: Cause,
}

impl SourceError {
    /// Says what is wrong with something of this machine.
    #[must_use]
    pub fn new(
        subject: impl Into<String>,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            subject: printable(&subject.into()),
            problem: printable(&problem.into()),
            hint: hint.into(),
            cause: Cause::Source,
        }
    }
}

/// A name may hold anything, and this goes to logs and terminals.
fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}
