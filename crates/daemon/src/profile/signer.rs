//! The party that authorizes a call to STS, for the hints of refusals.

/// The party that authorizes a call to STS. A refusal of one is fixed in another place than a
/// refusal of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// A RAM user, by its AccessKey.
    RamUser,
    /// The RAM role of this ECS instance.
    InstanceRole,
    /// The role of another profile.
    ProfileRole,
    /// The RAM user or the role whose credentials a command or a URI supplies.
    Supplied,
    /// An OIDC or SAML provider. The call has no signature.
    IdentityProvider,
}
