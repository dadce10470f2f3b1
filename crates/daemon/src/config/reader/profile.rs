//! Decides what a profile's table means, and in which order profiles build on each other.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use super::{
    Reader, export, read,
    source::{Kind, SourceSpec},
    spanned::Spanned,
};
use crate::{
    identity::{ChainedProfile, ProcessEnvironment},
    profile::{
        self, CachedIdentity, ExportConfig, Invalid, Profile, ProfileName, RoleArn,
        RoleSessionName, Rule, SessionDuration, SessionPolicy,
    },
};

/// Each profile of a chain adds a call to how long a cold caller waits.
const MAX_CHAIN_LENGTH: usize = 8;

/// What an example of `on_renewal` looks like.
const HOOK_EXAMPLE: &str =
    "on_renewal = [\"/usr/bin/systemctl\", \"reload\", \"nginx\"]; no shell reads it";

/// The name of a session of which the configuration says nothing.
pub(super) const DEFAULT_SESSION_NAME: &str = "{user}-{host}";

/// By these a pod with RRSA is told its role and its session's name.
pub(super) const ROLE_VARIABLE: &str = "ALIBABA_CLOUD_ROLE_ARN";
pub(super) const SESSION_NAME_VARIABLE: &str = "ALIBABA_CLOUD_ROLE_SESSION_NAME";

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawProfile {
    /// The name of a source, or else of another profile: a
    /// [chain](configuration.md#chains-a-profile-on-a-profile).
    source: Spanned<String>,
    /// The role, `acs:ram::<account>:role/<name>`. Without one, the session of a source of type
    /// `ecs-role`, `process` or `uri` is
    /// [handed on](configuration.md#sessions-that-are-handed-on); other sources need it.
    role_arn: Option<Spanned<String>>,
    /// What ActionTrail shows: 2 to 64 of `A-Z a-z 0-9 . @ _ -`; `{user}`, `{host}`,
    /// `{profile}`, `{pid}` stand for themselves, made to fit. With `{pid}` each restart costs one
    /// call a profile, because sessions of another name are not taken over.
    role_session_name: Option<Spanned<String>>,
    /// How long each session is asked to live, `"15m"` to `"12h"`; the role's own maximum applies.
    duration: Option<Spanned<String>>,
    /// A session policy, as JSON in a text: the effective right is role AND policy. At most 2,048
    /// bytes without white space.
    policy: Option<Spanned<String>>,
    /// In place of `policy`: a file that holds it.
    policy_file: Option<Spanned<String>>,
    /// What a role of another account asks for.
    external_id: Option<Spanned<String>>,
    /// Who is behind the session, for ActionTrail: 2 to 64 of `A-Z a-z 0-9 _ + = , . @ -`.
    source_identity: Option<Spanned<String>>,
    /// Renewed from the start and for ever, whether anybody asks or not.
    #[serde(default)]
    keep_warm: bool,
    /// A file that holds the newest credentials, for
    /// [programs that can only read one](configuration.md#file-for-programs-that-can-only-read-one).
    file: Option<export::RawFile>,
    /// What is [run after each renewal](configuration.md#on_renewal-a-command-after-each): a
    /// program by its full path, and its arguments.
    on_renewal: Option<Spanned<Vec<Spanned<String>>>>,
    /// [Whom it is for](configuration.md#allow-whom-it-is-for): `user:NAME`, `group:NAME`,
    /// `unit:NAME.service`, `unit:NAME.scope`; any that fits is enough.
    allow: Option<Spanned<Vec<Spanned<String>>>>,
}

/// The profiles of a configuration while they are read. Those that others build on come first.
pub(super) struct Profiles<'a> {
    raw: BTreeMap<&'a str, (&'a Spanned<String>, &'a RawProfile)>,
    sources: &'a BTreeMap<String, Option<SourceSpec>>,
    environment: &'a ProcessEnvironment,
    read: BTreeMap<&'a str, Option<Arc<Profile>>>,
    /// How many profiles each builds on, itself included.
    lengths: BTreeMap<&'a str, usize>,
    /// Those that are being read, each because the one before builds on it.
    chain: Vec<&'a str>,
}

type Check = fn(&str) -> Result<Box<str>, Invalid>;

impl RawProfile {
    /// Returns the keys that are there and say what is asked of STS.
    fn sts_parameters(&self) -> Vec<(&'static str, usize)> {
        let sts_parameters = [
            ("role_session_name", &self.role_session_name),
            ("duration", &self.duration),
            ("policy", &self.policy),
            ("policy_file", &self.policy_file),
            ("external_id", &self.external_id),
            ("source_identity", &self.source_identity),
        ];
        let there = sts_parameters.into_iter();
        there
            .filter_map(|(key, value)| Some((key, value.as_ref()?.span().start)))
            .collect()
    }
}

impl Reader<'_> {
    pub(super) fn profiles(
        &mut self,
        raw: &BTreeMap<Spanned<String>, RawProfile>,
        sources: &BTreeMap<String, Option<SourceSpec>>,
        environment: &ProcessEnvironment,
    ) -> BTreeMap<ProfileName, Arc<Profile>> {
        let by_name = raw.iter().map(|(name, raw)| {
            let text = name.get_ref().as_str();
            (text, (name, raw))
        });
        let mut profiles = Profiles {
            raw: by_name.collect(),
            sources,
            environment,
            read: BTreeMap::new(),
            lengths: BTreeMap::new(),
            chain: Vec::new(),
        };
        for name in raw.keys() {
            self.profile(name.get_ref(), &mut profiles);
        }
        let read = profiles.read.into_values().flatten();
        read.map(|it| (it.name.clone(), it)).collect()
    }

    /// Reads a profile, after those that it builds on.
    fn profile<'a>(&mut self, name: &'a str, profiles: &mut Profiles<'a>) -> Option<Arc<Profile>> {
        if let Some(read) = profiles.read.get(name) {
            return read.clone();
        }
        let (spanned, raw) = *profiles.raw.get(name)?;
        profiles.chain.push(name);
        let profile = self.profile_itself(spanned, raw, profiles).map(Arc::new);
        profiles.chain.pop();
        profiles.read.insert(name, profile.clone());
        profile
    }

    fn profile_itself<'a>(
        &mut self,
        name: &'a Spanned<String>,
        raw: &'a RawProfile,
        profiles: &mut Profiles<'a>,
    ) -> Option<Profile> {
        let table = format!("profile.{}", name.get_ref());
        let at = name.span().start;
        let name = self.checked(ProfileName::new(name.get_ref()), at, &table);
        let source = self.source_of(raw, &table, profiles);
        let name = name?;
        let environment = profiles.environment;

        let role_arn = self.role_arn(raw, &table, source.as_ref(), environment);
        let session_name = self.session_name(raw, &table, &name, source.as_ref(), environment);
        let duration = match &raw.duration {
            Some(duration) => self.value(duration, &table, "duration", SessionDuration::new),
            None => Some(SessionDuration::DEFAULT),
        };
        let policy = self.policy(raw, &table);
        let mut optional = |value: &Option<Spanned<String>>, key, check: Check| {
            let value = value.as_ref()?;
            self.value(value, &table, key, check)
        };
        let external_id = optional(&raw.external_id, "external_id", profile::external_id);
        let source_identity = optional(
            &raw.source_identity,
            "source_identity",
            profile::source_identity,
        );
        self.reject_ignored_parameters(raw, &table, source.as_ref(), role_arn.as_ref());
        let on_renewal = raw.on_renewal.as_ref().map(|words| {
            let key = format!("{table}.on_renewal");
            self.command(words, &key, HOOK_EXAMPLE)
        });
        let export = ExportConfig {
            file: raw.file.as_ref().and_then(|it| self.file(it, &table)),
            command: on_renewal.unwrap_or_default(),
        };
        let allow = self.rules(raw.allow.as_ref(), &table);
        Some(Profile {
            name,
            source: source?.source,
            role_arn: role_arn?,
            role_session_name: session_name?,
            duration: duration?,
            policy,
            external_id,
            source_identity,
            keep_warm: raw.keep_warm,
            export: (!export.is_empty()).then(|| Box::new(export)),
            allow: allow.into(),
        })
    }

    /// Finds who a profile is: a source of that name, or else the profile of that name.
    fn source_of<'a>(
        &mut self,
        raw: &'a RawProfile,
        table: &str,
        profiles: &mut Profiles<'a>,
    ) -> Option<SourceSpec> {
        let name = raw.source.get_ref().as_str();
        let (at, key) = (raw.source.span().start, format!("{table}.source"));
        if let Some(declared) = profiles.sources.get(name) {
            return declared.clone();
        }
        if let Some(first) = profiles.chain.iter().position(|it| *it == name) {
            let mut circle = profiles.chain[first..].to_vec();
            circle.push(name);
            let problem = format!("roles are chained in a circle: {}", circle.join(" -> "));
            let hint = "one of them has to name a [source.NAME]";
            self.error_at(at, &key, &problem, hint);
            return None;
        }
        if !profiles.raw.contains_key(name) {
            let sources = profiles.sources.keys().map(String::as_str);
            let known: Vec<_> = sources.chain(profiles.raw.keys().copied()).collect();
            let problem = format!(
                "no source or profile of that name; there are: {}",
                known.join(", ")
            );
            let hint = "name a [source.NAME] of this file, or a [profile.NAME] to chain roles";
            self.error_at(at, &key, &problem, hint);
            return None;
        }
        let too_long = |reader: &mut Self| {
            let problem = format!("a chain of roles has {MAX_CHAIN_LENGTH} profiles at the most");
            let hint = "let the last role trust one that is nearer to the source";
            reader.error_at(at, &key, &problem, hint);
            None
        };
        // Before it is followed any further, whoever wrote it.
        if profiles.chain.len() >= MAX_CHAIN_LENGTH {
            return too_long(self);
        }
        let base = self.profile(name, profiles)?;
        // Those below may have been read before, each with a chain that was short enough.
        let length = 1 + profiles.lengths.get(name).copied().unwrap_or(1);
        if length > MAX_CHAIN_LENGTH {
            return too_long(self);
        }
        if let Some(this) = profiles.chain.last() {
            profiles.lengths.insert(this, length);
        }
        let grant = base.grant().map(|it| it.unwrap_or("\u{1}"));
        let declaration: Vec<_> = ["profile", name].into_iter().chain(grant).collect();
        Some(SourceSpec {
            source: CachedIdentity::new(&declaration, ChainedProfile::new(base.name.clone())),
            kind: Kind::Profile,
        })
    }

    /// Returns the role; the inner none says that there is to be none.
    fn role_arn(
        &mut self,
        raw: &RawProfile,
        table: &str,
        source: Option<&SourceSpec>,
        environment: &ProcessEnvironment,
    ) -> Option<Option<RoleArn>> {
        if let Some(given) = &raw.role_arn {
            return self.value(given, table, "role_arn", RoleArn::new).map(Some);
        }
        let (at, key) = (raw.source.span().start, format!("{table}.role_arn"));
        let kind = source?.kind;
        if kind == Kind::Session {
            return Some(None);
        }
        let given = environment.text(ROLE_VARIABLE);
        let given = given.filter(|_| kind == Kind::Oidc);
        if let Some(given) = given {
            return self.checked(RoleArn::new(&given), at, &key).map(Some);
        }
        let hint = "set it to acs:ram::<account number>:role/<role name>; only a source of type \
                    ecs-role, process or uri gives sessions that are handed on without";
        self.error_at(at, &key, "it is not said which role this becomes", hint);
        None
    }

    fn session_name(
        &mut self,
        raw: &RawProfile,
        table: &str,
        name: &ProfileName,
        source: Option<&SourceSpec>,
        environment: &ProcessEnvironment,
    ) -> Option<RoleSessionName> {
        let expand = |text: &str| RoleSessionName::expand(text, &environment.parts, name);
        if let Some(template) = &raw.role_session_name {
            return self.value(template, table, "role_session_name", expand);
        }
        let oidc = source.is_some_and(|it| it.kind == Kind::Oidc);
        let given = environment.text(SESSION_NAME_VARIABLE).filter(|_| oidc);
        let given = given.unwrap_or_else(|| DEFAULT_SESSION_NAME.to_owned());
        let key = format!("{table}.role_session_name");
        self.checked(expand(&given), raw.source.span().start, &key)
    }

    /// What would have no effect is a mistake: somebody relies on it.
    fn reject_ignored_parameters(
        &mut self,
        raw: &RawProfile,
        table: &str,
        source: Option<&SourceSpec>,
        role_arn: Option<&Option<RoleArn>>,
    ) {
        let Some(source) = source else { return };
        let (refused, problem): (&[&str], _) = match (source.kind, role_arn) {
            (_, Some(None)) => (
                &[
                    "role_session_name",
                    "duration",
                    "policy",
                    "policy_file",
                    "external_id",
                    "source_identity",
                ],
                "without a role_arn, nothing is asked of STS",
            ),
            (Kind::Oidc, _) => (
                &["external_id", "source_identity"],
                "STS takes none with an OIDC token",
            ),
            (Kind::Saml, _) => (
                &["role_session_name", "external_id", "source_identity"],
                "STS takes none with a SAML assertion, which may hold it",
            ),
            (Kind::Credentials | Kind::Session | Kind::Profile, _) => return,
        };
        for (key, at) in raw.sts_parameters() {
            if refused.contains(&key) {
                let key = format!("{table}.{key}");
                self.error_at(at, &key, problem, "leave it out");
            }
        }
    }

    fn rules(&mut self, rules: Option<&Spanned<Vec<Spanned<String>>>>, table: &str) -> Vec<Rule> {
        let Some(rules) = rules else {
            return Vec::new();
        };
        let key = format!("{table}.allow");
        if rules.get_ref().is_empty() {
            let hint = "name somebody, or leave the key out";
            self.error_at(
                rules.span().start,
                &key,
                "an empty list allows nobody",
                hint,
            );
        }
        let mut read = Vec::new();
        for rule in rules.get_ref() {
            match Rule::new(rule.get_ref()) {
                Ok(rule) => read.push(rule),
                Err(error) => {
                    let at = rule.span().start;
                    self.error_at(at, &key, &error.to_string(), error.hint());
                }
            }
        }
        read
    }

    fn policy(&mut self, raw: &RawProfile, table: &str) -> Option<SessionPolicy> {
        if let (Some(_), Some(second)) = (&raw.policy, &raw.policy_file) {
            let key = format!("{table}.policy_file");
            let hint = "keep the one or the other";
            let problem = "there is a policy here and one in a file";
            self.error_at(second.span().start, &key, problem, hint);
        }
        if let Some(inline) = &raw.policy {
            return self.value(inline, table, "policy", SessionPolicy::new);
        }
        let file = raw.policy_file.as_ref()?;
        let path = self.beside(file.get_ref());
        let policy = match read(&path) {
            Ok(text) => SessionPolicy::new(&text).map_err(|error| error.to_string()),
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        policy
            .map_err(|problem| {
                let key = format!("{table}.policy_file");
                let problem = format!("{}: {problem}", path.display());
                self.error_at(file.span().start, &key, &problem, "correct that file");
            })
            .ok()
    }
}
