//! The reasons for which an operation is refused, as the audit names them.

/// Why an operation is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No rule allows the operation.
    NotAllowed,
    /// No profile has the name.
    UnknownProfile,
    /// There is no session yet, or the identity provider has failed.
    NotYetAvailable,
    /// STS has refused the role session.
    DeniedBySts,
    /// STS cannot be reached, or its answer is unusable.
    Unreachable,
    /// STS limits the calls.
    Throttled,
    /// A limit of the daemon is reached, or the daemon stops.
    Busy,
    /// The parameters of the request are not possible.
    Invalid,
}

impl Refusal {
    /// Every reason, in the order of the variants.
    pub const ALL: [Self; 8] = [
        Self::NotAllowed,
        Self::UnknownProfile,
        Self::NotYetAvailable,
        Self::DeniedBySts,
        Self::Unreachable,
        Self::Throttled,
        Self::Busy,
        Self::Invalid,
    ];

    /// Returns the name of the reason in an event.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::UnknownProfile => "unknown_profile",
            Self::NotYetAvailable => "not_yet_available",
            Self::DeniedBySts => "denied_by_sts",
            Self::Unreachable => "unreachable",
            Self::Throttled => "throttled",
            Self::Busy => "busy",
            Self::Invalid => "invalid",
        }
    }
}
