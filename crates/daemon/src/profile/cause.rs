//! The kinds of failed refreshes.

/// The kind of a failed refresh, on which callers can branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// STS refuses, and will refuse again until the configuration or the account changes.
    Denied,
    /// STS has not answered, or with an answer that cannot be used.
    Unreachable,
    /// STS limits the calls.
    Throttled,
    /// The identity could not be resolved, so that STS was not called.
    Source,
}
