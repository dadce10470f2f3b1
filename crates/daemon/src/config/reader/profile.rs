//! The `[profile.NAME]` tables, and the order in which profiles build on each other.

use std::{collections::BTreeMap, io::ErrorKind, sync::Arc};

use serde::Deserialize;
use stsd_codes::Code;
use stsd_model::MAX_CHAIN_PROFILES;

use super::{
    command::{RawProgram, Words, program, program_beside, reject_without_program},
    context::{ReadContext, read},
    export::{RawFile, export_file},
    source::{Kind, SourceSpec},
    spanned::Spanned,
    suggestion::{self, shown},
};
use crate::{
    identity::ChainedProfile,
    profile::{
        self, CachedIdentity, ExportConfig, Invalid, Profile, ProfileName, RoleArn,
        RoleSessionName, Rule, RuleError, SessionDuration, SessionPolicy,
    },
    runtime::trust::TrustError,
};

/// The hint of an invalid `on_renewal`.
const HOOK_EXAMPLE: &str =
    "on_renewal = [\"/usr/bin/systemctl\", \"reload\", \"nginx\"]; no shell reads it";

/// The hint of an invalid `on_failure`.
const FAILURE_HOOK_EXAMPLE: &str =
    "on_failure = [\"/usr/local/bin/page\", \"stsd\"]; no shell reads it";

/// The role of the variable [`ROLE_VARIABLE`] on another machine.
const STAND_IN_ROLE: &str = "acs:ram::100000000000001:role/stand-in";

/// The default of `role_session_name`.
pub(super) const DEFAULT_SESSION_NAME: &str = "{user}-{host}";

/// The variables with the role and the session name that RRSA sets in a pod.
pub(super) const ROLE_VARIABLE: &str = "ALIBABA_CLOUD_ROLE_ARN";
pub(super) const SESSION_NAME_VARIABLE: &str = "ALIBABA_CLOUD_ROLE_SESSION_NAME";

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawProfile {
    /// The name of a source, or else of another profile: a
    /// [chain](configuration.md#chains-a-profile-on-a-profile).
    #[cfg_attr(test, schemars(required))]
    source: Option<Spanned<String>>,
    /// The role, `acs:ram::<account>:role/<name>`. Without a role, the session of a source of type
    /// `ecs-role`, `process` or `uri` is
    /// [passed through](configuration.md#sessions-that-are-passed-through); other sources need a role.
    role_arn: Option<Spanned<String>>,
    /// The session name in ActionTrail: 2 to 64 of `A-Z a-z 0-9 . @ _ -`. `{user}`, `{host}`,
    /// `{instance_id}`, `{profile}` and `{pid}` are replaced, and other characters in them become
    /// hyphens. The id of the instance is the one that
    /// [cloud-init has left](configuration.md#the-id-of-the-instance). With `{pid}` each restart
    /// costs one call a profile, because the name of the session changes.
    role_session_name: Option<Spanned<String>>,
    /// The requested lifetime of each session, `"15m"` to `"12h"`; the role's own maximum applies.
    duration: Option<Spanned<String>>,
    /// A session policy, as JSON in a text: the effective right is role AND policy. At most 2,048
    /// bytes without white space.
    policy: Option<Spanned<String>>,
    /// A file that holds the policy, in place of `policy`.
    policy_file: Option<Spanned<String>>,
    /// The external id that a role of another account requires.
    external_id: Option<Spanned<String>>,
    /// The source identity in ActionTrail: 2 to 64 of `A-Z a-z 0-9 _ + = , . @ -`.
    source_identity: Option<Spanned<String>>,
    /// Renew the session from the start of the daemon on, also without requests.
    #[serde(default)]
    keep_warm: bool,
    /// A file that holds the newest credentials, for
    /// [programs that can only read one](configuration.md#file-for-programs-that-can-only-read-one).
    file: Option<RawFile>,
    /// A command that is [run after each renewal](configuration.md#on_renewal-a-command-after-each):
    /// a program by its full path, and its arguments.
    on_renewal: Option<Words>,
    /// A command that is [run once when renewals begin to
    /// fail](configuration.md#on_failure-a-command-when-renewals-fail): a program by its full path, and
    /// its arguments.
    on_failure: Option<Words>,
    /// Files and directories that the commands of `on_renewal` and `on_failure` may
    /// [write to](configuration.md#programs-where-they-may-write), besides the directory of `file`.
    writable: Option<Words>,
    /// Names of further variables of the daemon's environment that the commands of `on_renewal` and
    /// `on_failure` [receive](configuration.md#programs-where-they-may-write).
    environment: Option<Words>,
    /// The [callers](configuration.md) that may have the credentials: `user:NAME`, `group:NAME`,
    /// `unit:NAME.service`, `unit:NAME.scope`; one rule that matches is enough.
    allow: Option<Spanned<Vec<Spanned<String>>>>,
}

/// The reader of all profiles. A profile that is the source of another one is read first.
struct ProfileReader<'a, 'c, 'p> {
    context: &'c mut ReadContext<'p>,
    raw: BTreeMap<&'a str, (&'a Spanned<String>, &'a RawProfile)>,
    sources: &'a BTreeMap<String, Option<SourceSpec>>,
    read: BTreeMap<&'a str, Option<Arc<Profile>>>,
    /// The number of profiles in the chain of each profile, itself included.
    lengths: BTreeMap<&'a str, usize>,
    /// The profiles that are being read, each the source of the one before.
    chain: Vec<&'a str>,
}

/// The role of a profile.
enum Role {
    /// STS is asked for a session of this role.
    Assumed(RoleArn),
    /// The session of the source is passed through.
    PassThrough,
}

type Check = fn(&str) -> Result<Box<str>, Invalid>;

impl RawProfile {
    fn source_position(&self) -> usize {
        self.source.as_ref().map_or(0, |it| it.span().start)
    }

    /// Returns the keys with parameters of the call to STS, and their positions.
    fn sts_parameters(&self) -> Vec<(&'static str, usize)> {
        let sts_parameters = [
            ("role_session_name", &self.role_session_name),
            ("duration", &self.duration),
            ("policy", &self.policy),
            ("policy_file", &self.policy_file),
            ("external_id", &self.external_id),
            ("source_identity", &self.source_identity),
        ];
        let present = sts_parameters.into_iter();
        present
            .filter_map(|(key, value)| Some((key, value.as_ref()?.span().start)))
            .collect()
    }
}

/// Reads all profiles.
pub(super) fn read_profiles(
    context: &mut ReadContext<'_>,
    raw: &BTreeMap<Spanned<String>, RawProfile>,
    sources: &BTreeMap<String, Option<SourceSpec>>,
) -> BTreeMap<ProfileName, Arc<Profile>> {
    let by_name = raw.iter().map(|(name, raw)| {
        let text = name.get_ref().as_str();
        (text, (name, raw))
    });
    let mut reader = ProfileReader {
        context,
        raw: by_name.collect(),
        sources,
        read: BTreeMap::new(),
        lengths: BTreeMap::new(),
        chain: Vec::new(),
    };
    for name in raw.keys() {
        reader.profile(name.get_ref());
    }
    let read = reader.read.into_values().flatten();
    read.map(|it| (it.name.clone(), it)).collect()
}

impl<'a> ProfileReader<'a, '_, '_> {
    /// Reads a profile, after the profile that is its source.
    fn profile(&mut self, name: &'a str) -> Option<Arc<Profile>> {
        if let Some(read) = self.read.get(name) {
            return read.clone();
        }
        let (spanned, raw) = *self.raw.get(name)?;
        self.chain.push(name);
        let profile = self.table(spanned, raw).map(Arc::new);
        self.chain.pop();
        self.read.insert(name, profile.clone());
        profile
    }

    /// Reads the table of a profile.
    fn table(&mut self, spanned: &'a Spanned<String>, raw: &'a RawProfile) -> Option<Profile> {
        let table = format!("profile.{}", spanned.get_ref());
        let at = spanned.span().start;
        let name = ProfileName::new(spanned.get_ref());
        let text = spanned.get_ref();
        let name = self.context.checked(name, Some(text), at, &table);
        let source = self.source(raw, &table);
        let name = name?;

        let context = &mut *self.context;
        let role = role(context, raw, &table, source.as_ref());
        let session_name = session_name(context, raw, &table, &name, source.as_ref());
        let duration = match &raw.duration {
            Some(duration) => context.value(duration, &table, "duration", SessionDuration::new),
            None => Some(SessionDuration::DEFAULT),
        };
        let policy = policy(context, raw, &table);
        let mut optional = |value: &Option<Spanned<String>>, key, check: Check| {
            let text = value.as_ref()?;
            // An external id is shared with the other account alone.
            let shown = (key != "external_id").then_some(text.get_ref().as_str());
            let key = format!("{table}.{key}");
            context.checked(check(text.get_ref()), shown, text.span().start, &key)
        };
        let external_id = optional(&raw.external_id, "external_id", profile::external_id);
        let source_identity = optional(
            &raw.source_identity,
            "source_identity",
            profile::source_identity,
        );
        reject_ignored_parameters(context, raw, &table, source.as_ref(), role.as_ref());
        let export = export(context, raw, &table);
        let allow = rules(context, raw.allow.as_ref(), &table);
        Some(Profile {
            name,
            source: source?.source,
            role_arn: match role? {
                Role::Assumed(role_arn) => Some(role_arn),
                Role::PassThrough => None,
            },
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

    /// Returns the source of a profile: the `[source.*]` table of that name, or else the profile.
    fn source(&mut self, raw: &'a RawProfile, table: &str) -> Option<SourceSpec> {
        // The missing key is reported with those of the other tables.
        let name = raw.source.as_ref()?.get_ref().as_str();
        let (at, key) = (raw.source_position(), format!("{table}.source"));
        if let Some(declared) = self.sources.get(name) {
            return declared.clone();
        }
        if let Some(first) = self.chain.iter().position(|it| *it == name) {
            let mut circle = self.chain[first..].to_vec();
            circle.push(name);
            let problem = format!("roles are chained in a circle: {}", circle.join(" -> "));
            let hint = "one of them has to name a [source.NAME]";
            self.context
                .error_at(Code::ConfigConflict, at, &key, &problem, hint);
            return None;
        }
        if !self.raw.contains_key(name) && self.context.has_too_many_errors() {
            return None;
        }
        if !self.raw.contains_key(name) {
            let sources = self.sources.keys().map(String::as_str);
            // A profile cannot be its own source.
            let others = self
                .raw
                .keys()
                .copied()
                .filter(|it| !self.chain.contains(it));
            let known: Vec<_> = sources.chain(others).collect();
            let problem = format!("there is no source or profile {}", shown(name));
            let hint = suggestion::with_names(name, &known);
            self.context
                .error_at(Code::ConfigUnknownName, at, &key, &problem, &hint);
            return None;
        }
        self.chained_profile(name, at, &key)
    }

    /// Returns the session of a profile as a source.
    fn chained_profile(&mut self, name: &'a str, at: usize, key: &str) -> Option<SourceSpec> {
        // Checked before the recursion, whose depth the file would otherwise choose.
        if self.chain.len() >= MAX_CHAIN_PROFILES {
            return self.chain_too_long(at, key);
        }
        let base = self.profile(name)?;
        // The base may have been read before, with a chain that was short enough by itself.
        let length = 1 + self.lengths.get(name).copied().unwrap_or(1);
        if length > MAX_CHAIN_PROFILES {
            return self.chain_too_long(at, key);
        }
        if let Some(this) = self.chain.last() {
            self.lengths.insert(this, length);
        }
        let grant = base.grant().map(|it| it.unwrap_or("\u{1}"));
        let declaration: Vec<_> = ["profile", name].into_iter().chain(grant).collect();
        Some(SourceSpec {
            source: CachedIdentity::new(&declaration, ChainedProfile::new(base.name.clone())),
            kind: Kind::Profile,
        })
    }

    fn chain_too_long(&mut self, at: usize, key: &str) -> Option<SourceSpec> {
        let problem = format!("a chain of roles has {MAX_CHAIN_PROFILES} profiles at the most");
        let hint = "let the last role trust one that is nearer to the source";
        self.context
            .error_at(Code::ConfigConflict, at, key, &problem, hint);
        None
    }
}

/// Returns the role of a profile; `None` after an error.
fn role(
    context: &mut ReadContext<'_>,
    raw: &RawProfile,
    table: &str,
    source: Option<&SourceSpec>,
) -> Option<Role> {
    if let Some(given) = &raw.role_arn {
        let role_arn = context.value(given, table, "role_arn", RoleArn::new);
        return role_arn.map(Role::Assumed);
    }
    let (at, key) = (raw.source_position(), format!("{table}.role_arn"));
    let kind = source?.kind;
    if kind == Kind::Session {
        return Some(Role::PassThrough);
    }
    let given = match context.is_portable() {
        true => Some(STAND_IN_ROLE.to_owned()),
        false => context.environment.text(ROLE_VARIABLE),
    };
    let given = given.filter(|_| kind == Kind::Oidc);
    if let Some(given) = given {
        let role_arn = context.checked(RoleArn::new(&given), Some(&given), at, &key);
        return role_arn.map(Role::Assumed);
    }
    let hint = "set role_arn to acs:ram::<account number>:role/<role name>; only a source of type \
                ecs-role, process or uri gives sessions that need no role";
    context.error_at(
        Code::ConfigMissingKey,
        at,
        &key,
        "the role is missing",
        hint,
    );
    None
}

fn session_name(
    context: &mut ReadContext<'_>,
    raw: &RawProfile,
    table: &str,
    name: &ProfileName,
    source: Option<&SourceSpec>,
) -> Option<RoleSessionName> {
    let environment = context.environment;
    let expand = |text: &str| RoleSessionName::expand(text, &environment.parts, name);
    if let Some(template) = &raw.role_session_name {
        return context.value(template, table, "role_session_name", expand);
    }
    let oidc = source.is_some_and(|it| it.kind == Kind::Oidc);
    let given = environment.text(SESSION_NAME_VARIABLE).filter(|_| oidc);
    let given = given.unwrap_or_else(|| DEFAULT_SESSION_NAME.to_owned());
    let key = format!("{table}.role_session_name");
    context.checked(expand(&given), Some(&given), raw.source_position(), &key)
}

/// Rejects parameters without an effect: the user relies on them.
fn reject_ignored_parameters(
    context: &mut ReadContext<'_>,
    raw: &RawProfile,
    table: &str,
    source: Option<&SourceSpec>,
    role: Option<&Role>,
) {
    let Some(source) = source else { return };
    let (refused, problem): (&[&str], _) = match (source.kind, role) {
        (_, Some(Role::PassThrough)) => (
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
            context.error_at(Code::ConfigConflict, at, &key, problem, "leave it out");
        }
    }
}

fn export(context: &mut ReadContext<'_>, raw: &RawProfile, table: &str) -> ExportConfig {
    let (writable, environment) = (raw.writable.as_ref(), raw.environment.as_ref());
    let of = |key, command, example| RawProgram {
        table,
        key,
        command,
        example,
        writable,
        environment,
    };
    let renewal = raw.on_renewal.as_ref();
    let renewal = renewal.map(|it| of("on_renewal", it, HOOK_EXAMPLE));
    let failure = raw.on_failure.as_ref();
    let failure = failure.map(|it| of("on_failure", it, FAILURE_HOOK_EXAMPLE));
    if renewal.is_none() && failure.is_none() {
        let keys = [("writable", writable), ("environment", environment)];
        reject_without_program(context, table, "on_renewal and on_failure", keys);
    }
    let on_renewal = renewal.map(|it| program(context, &it));
    let on_failure = failure.map(|it| match &on_renewal {
        Some(other) => program_beside(context, &it, other),
        None => program(context, &it),
    });
    let file = raw.file.as_ref();
    ExportConfig {
        file: file.and_then(|it| export_file(context, it, table)),
        on_renewal,
        on_failure,
    }
}

fn rules(
    context: &mut ReadContext<'_>,
    rules: Option<&Spanned<Vec<Spanned<String>>>>,
    table: &str,
) -> Vec<Rule> {
    let Some(rules) = rules else {
        return Vec::new();
    };
    let key = format!("{table}.allow");
    if rules.get_ref().is_empty() {
        let hint = "add a rule such as user:NAME, or leave the key out";
        context.error_at(
            Code::ConfigInvalidValue,
            rules.span().start,
            &key,
            "an empty list allows no caller",
            hint,
        );
    }
    let mut read = Vec::new();
    for rule in rules.get_ref() {
        let parsed = match context.is_portable() {
            true => Rule::check_form(rule.get_ref()).map(|()| None),
            false => Rule::new(rule.get_ref()).map(Some),
        };
        match parsed {
            Ok(rule) => read.extend(rule),
            Err(error) => {
                let at = rule.span().start;
                // A text without the shape of a rule may be a misplaced secret.
                let problem = match error {
                    RuleError::Shape => error.to_string(),
                    _ => format!("{}: {error}", shown(rule.get_ref())),
                };
                context.error_at(Code::ConfigInvalidValue, at, &key, &problem, error.hint());
            }
        }
    }
    read
}

fn policy(context: &mut ReadContext<'_>, raw: &RawProfile, table: &str) -> Option<SessionPolicy> {
    if let (Some(_), Some(second)) = (&raw.policy, &raw.policy_file) {
        let key = format!("{table}.policy_file");
        let hint = "keep the one or the other";
        let problem = "there is a policy here and one in a file";
        context.error_at(
            Code::ConfigConflict,
            second.span().start,
            &key,
            problem,
            hint,
        );
    }
    if let Some(inline) = &raw.policy {
        let (at, key) = (inline.span().start, format!("{table}.policy"));
        return context.checked(SessionPolicy::new(inline.get_ref()), None, at, &key);
    }
    let file = raw.policy_file.as_ref()?;
    let path = context.use_text_of(file.get_ref(), file.span().start);
    if context.is_portable() {
        return None;
    }
    let path_text = path.display();
    let correct = || "correct that file".to_owned();
    let policy = match read(&path) {
        Ok(text) => SessionPolicy::new(&text).map_err(|it| {
            (
                Code::ConfigInvalidValue,
                format!("{path_text}: {it}"),
                correct(),
            )
        }),
        Err(TrustError::Io(it)) => {
            let hint = match it.kind() {
                ErrorKind::NotFound => "create that file, or correct the path",
                ErrorKind::PermissionDenied => "let the daemon's user read that file",
                _ => "correct that file",
            };
            let problem = format!("{path_text}: cannot be read: {it}");
            Err((Code::ConfigUnreadable, problem, hint.to_owned()))
        }
        Err(TrustError::Loose(it)) => {
            Err((Code::UntrustedFile, format!("{path_text} {it}"), it.hint()))
        }
    };
    policy
        .map_err(|(code, problem, hint)| {
            let key = format!("{table}.policy_file");
            context.error_at(code, file.span().start, &key, &problem, &hint);
        })
        .ok()
}
