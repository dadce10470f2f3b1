//! The error of a value that is not allowed.

/// The allowed values, as the error of another value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Invalid {
    /// Returns the error with a text that names the allowed values.
    pub(crate) fn new(allowed: &str) -> Self {
        Self(allowed.to_owned())
    }
}
