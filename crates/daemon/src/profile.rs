//! Profiles, as values without I/O: their names and limits, the rules for callers, the exports.

mod cached_identity;
mod cause;
mod export;
mod identity_provider;
mod resolved_identity;
mod rule;
mod source_error;
#[cfg(any(test, fuzzing))]
mod testing;
mod types;

pub(crate) use self::resolved_identity::signing_margin;
pub use self::{
    cached_identity::CachedIdentity,
    cause::Cause,
    export::{ExportConfig, ExportFile},
    identity_provider::{
        Freshness, IdentityProvider, NoSession, RecoveryFuture, ResolveContext, ResolveFuture,
        SessionFuture, Sessions,
    },
    resolved_identity::{Expiry, ResolvedIdentity},
    rule::{Rule, RuleError, UnitName},
    source_error::SourceError,
    types::{
        Invalid, NameParts, ProfileName, RoleArn, RoleSessionName, SessionDuration, SessionPolicy,
        external_id, provider_arn, role_name, source_identity,
    },
};

/// One thing that callers may ask for: an identity and the role it becomes.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The name callers use.
    pub name: ProfileName,
    /// Who we are.
    pub source: CachedIdentity,
    /// What we become. Where there is none, the session that the source gives is handed on.
    pub role_arn: Option<RoleArn>,
    /// What the audit trail shows.
    pub role_session_name: RoleSessionName,
    /// How long each session is asked to live.
    pub duration: SessionDuration,
    /// What narrows the role.
    pub policy: Option<SessionPolicy>,
    /// What a role of another account may ask for.
    pub external_id: Option<Box<str>>,
    /// Who is behind the session.
    pub source_identity: Option<Box<str>>,
    /// Renewed from the start and for ever, whether anybody asks or not.
    pub keep_warm: bool,
    /// What becomes of its sessions besides being asked for.
    pub export: Option<Box<ExportConfig>>,
    /// Whom it is for; what none means depends on whose daemon it is.
    pub allow: Box<[Rule]>,
}

impl Profile {
    /// Tells whether it is renewed whether anybody asks or not: nobody asks for a file.
    #[must_use]
    pub fn is_kept_warm(&self) -> bool {
        self.keep_warm || self.export.is_some()
    }

    /// Tells whether a session made for `other` is one that could have been made for this
    /// profile: the same right in the same name, whatever its length.
    #[must_use]
    pub fn grants_the_same(&self, other: &Self) -> bool {
        self.grant() == other.grant()
    }

    /// Returns all that decides which right its sessions give, and in which name.
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
    /// Makes a profile for the tests of other rooms.
    pub(crate) fn sample() -> Self {
        let name = ProfileName::new("oss-upload").expect("a valid one");
        let parts = crate::profile::NameParts {
            user: "user".into(),
            host: "host".into(),
            pid: 1,
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
