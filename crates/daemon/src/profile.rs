//! Profiles without I/O: their names and limits, the rules for callers, the exports, and the interface
//! of identity providers with its cache.

mod access_rule;
mod cached_identity;
mod cause;
mod endpoints;
mod export;
mod identity_provider;
mod last_resolution;
mod resolved_identity;
mod signer;
mod source_error;
#[cfg(any(test, fuzzing))]
mod testing;

pub use stsd_model::{
    Invalid, NameParts, ProfileName, RoleArn, RoleSessionName, SessionDuration, SessionPolicy,
    external_id, provider_arn, role_name, source_identity,
};

pub(crate) use self::resolved_identity::signing_margin;
pub use self::{
    access_rule::{PodUid, Rule, RuleError, UnitName},
    cached_identity::CachedIdentity,
    cause::Cause,
    endpoints::{EndpointOrigin, Endpoints},
    export::{ExportConfig, ExportFile, FileContent},
    identity_provider::{
        Freshness, IdentityProvider, NoSession, RecoveryFuture, ResolveContext, ResolveFuture,
        SessionFuture, Sessions,
    },
    last_resolution::LastResolution,
    resolved_identity::{Expiry, ResolvedIdentity},
    signer::Signer,
    source_error::SourceError,
};

/// A named role that programs ask for: an identity, the role, and the rules for callers.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The name.
    pub name: ProfileName,
    /// The identity that signs the calls to STS.
    pub source: CachedIdentity,
    /// The role; `None` passes the session of the identity through.
    pub role_arn: Option<RoleArn>,
    /// The session name in ActionTrail.
    pub role_session_name: RoleSessionName,
    /// The requested lifetime of each session.
    pub duration: SessionDuration,
    /// The session policy, which narrows the role.
    pub policy: Option<SessionPolicy>,
    /// The external id that a role of another account may require.
    pub external_id: Option<Box<str>>,
    /// The source identity in ActionTrail.
    pub source_identity: Option<Box<str>>,
    /// Renew the session from the start on, also without requests.
    pub keep_warm: bool,
    /// The file and the command that receive the sessions.
    pub export: Option<Box<ExportConfig>>,
    /// The rules for callers. Without a rule, a user's daemon allows its user, and the system's
    /// daemon no caller.
    pub allow: Box<[Rule]>,
}

impl Profile {
    /// Returns `true` if the session is renewed without requests; a file and `on_renewal` send none.
    #[must_use]
    pub fn is_kept_warm(&self) -> bool {
        self.keep_warm || self.export.as_ref().is_some_and(|it| it.uses_sessions())
    }

    /// Returns `true` if the sessions of both profiles grant the same rights under the same name;
    /// their durations may differ.
    #[must_use]
    pub fn grants_the_same(&self, other: &Self) -> bool {
        self.grant() == other.grant()
    }

    /// Returns all fields that determine the rights and the name of a session.
    pub(crate) fn grant(&self) -> [Option<&str>; 6] {
        [
            Some(self.source.fingerprint()),
            self.role_arn.as_ref().map(RoleArn::as_str),
            Some(self.role_session_name.as_str()),
            self.policy.as_ref().map(SessionPolicy::as_str),
            self.external_id.as_deref(),
            self.source_identity.as_deref(),
        ]
    }
}

#[cfg(any(test, fuzzing))]
impl Profile {
    /// Returns a profile for tests.
    pub(crate) fn sample() -> Self {
        let name = ProfileName::new("oss-upload").expect("a valid one");
        let parts = crate::profile::NameParts {
            user: "user".into(),
            host: "host".into(),
            pid: 1,
            instance_id: || None,
        };
        Self {
            source: CachedIdentity::sample(),
            role_arn: RoleArn::new("acs:ram::1:role/oss-upload").ok(),
            role_session_name: RoleSessionName::expand("{user}", &parts, &name)
                .expect("a valid one"),
            duration: SessionDuration::new("1h").expect("a valid one"),
            policy: None,
            external_id: None,
            source_identity: None,
            keep_warm: false,
            export: None,
            allow: Box::default(),
            name,
        }
    }
}
