//! The error of an identity provider.

use stsd_document::Printable;

use super::Cause;

/// The failure to resolve an identity. No field holds a secret: not the content of a file, not the
/// output of a command, not the path of a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject} {problem}")]
pub struct SourceError {
    /// The file, command, URL or profile.
    pub subject: String,
    /// The problem of the subject, and the expected state.
    pub problem: String,
    /// The remediation.
    pub hint: String,
    /// The kind of the failed refresh.
    pub cause: Cause,
}

impl SourceError {
    /// Returns the error of something on this machine, with [`Cause::Source`].
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

/// Escapes unprintable characters: a file name may hold any, and errors reach logs and terminals.
fn printable(text: &str) -> String {
    Printable(text).to_string()
}
