//! The tiers of the gate.

/// The command that runs a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    /// While a person works: at most a minute when everything is built.
    Check,
    /// Before a change lands, and in CI.
    Test,
    /// Each night, and before a release.
    Full,
}
