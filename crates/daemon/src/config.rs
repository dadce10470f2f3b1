//! Decides what the configuration means: TOML in, [`Config`] out, once. Every mistake is
//! named with file, line, key, what is allowed and what to do.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use stsd_sts::Endpoint;
use toml::Spanned;

mod sink;

use crate::{
    access::Rule,
    file,
    profile::{
        self, Invalid, NameParts, ProfileName, RoleArn, RoleSessionName, SessionDuration,
        SessionPolicy,
    },
    sink::Plan,
    source::Source,
};

/// A configuration file is small; more than this is some other file.
const LARGEST_FILE: usize = 1024 * 1024;

/// What STS may get from this machine: a fifth of what it allows an account, because other
/// machines of the account call too.
const DEFAULT_CALLS_PER_SECOND: u32 = 20;

/// What STS allows an account, users and roles together.
const MOST_CALLS_PER_SECOND: u32 = 100;

/// What the daemon is to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// Where STS is.
    pub endpoint: Endpoint,
    /// How many calls a second STS may get from this machine.
    pub sts_calls_per_second: u32,
    /// Where credentials are given by HTTP.
    pub http: Option<SocketAddr>,
    /// Where the audit is written, besides the log.
    pub audit_file: Option<Named>,
    /// Every file with credentials that a profile wants.
    pub files: Vec<Named>,
    /// What callers may ask for.
    pub profiles: BTreeMap<ProfileName, Arc<Profile>>,
}

/// A file that is opened later, with the line that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The file.
    pub path: PathBuf,
    /// The line in the configuration, from 1.
    pub line: usize,
    /// The key, with its table.
    pub key: String,
}

/// One thing that callers may ask for: an identity and the role it becomes.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The name callers use.
    pub name: ProfileName,
    /// Who we are.
    pub source: Source,
    /// What we become.
    pub role_arn: RoleArn,
    /// What the audit trail shows.
    pub role_session_name: RoleSessionName,
    /// How long each session is asked to live.
    pub duration: SessionDuration,
    /// What narrows the role.
    pub policy: Option<SessionPolicy>,
    /// What a role of another account may ask for.
    pub external_id: Option<String>,
    /// Who is behind the session.
    pub source_identity: Option<String>,
    /// Renewed from the start and for ever, whether anybody asks or not.
    pub keep_warm: bool,
    /// What becomes of its sessions besides being asked for.
    pub sink: Plan,
    /// Whom it is for; what none means depends on whose daemon it is.
    pub allow: Vec<Rule>,
}

impl Config {
    /// Says that a file cannot be used for a reason that shows only when it is.
    pub(crate) fn refuse(&self, named: &Named, problem: &impl fmt::Display, hint: &str) -> Mistake {
        Mistake {
            file: self.path.clone(),
            line: named.line,
            key: named.key.clone(),
            problem: problem.to_string(),
            hint: hint.to_owned(),
        }
    }
}

impl Profile {
    /// Tells whether it is renewed whether anybody asks or not: nobody asks for a file.
    #[must_use]
    pub fn is_kept_warm(&self) -> bool {
        self.keep_warm || !self.sink.is_empty()
    }

    /// Tells whether a session made for `other` is one that could have been made for this
    /// profile: the same right in the same name, whatever its length.
    #[must_use]
    pub fn grants_the_same(&self, other: &Self) -> bool {
        self.source == other.source
            && self.role_arn == other.role_arn
            && self.role_session_name == other.role_session_name
            && self.policy == other.policy
            && self.external_id == other.external_id
            && self.source_identity == other.source_identity
    }
}

#[cfg(any(test, fuzzing))]
impl Profile {
    /// Makes a profile for the tests of other rooms.
    pub(crate) fn sample() -> Self {
        let name = ProfileName::new("oss-upload").expect("a valid one");
        let parts = NameParts {
            user: "user".into(),
            host: "host".into(),
            pid: 1,
        };
        Self {
            source: Source::AccessKey {
                file: PathBuf::new(),
                credentials: stsd_sts::SourceCredentials {
                    access_key_id: "LTAI".into(),
                    access_key_secret: stsd_sts::SecretText::from("long-lived".to_owned()),
                    security_token: None,
                },
            },
            role_arn: RoleArn::new("acs:ram::1:role/oss-upload").expect("a valid one"),
            role_session_name: RoleSessionName::expand("{user}", &parts, &name)
                .expect("a valid one"),
            duration: SessionDuration::new("1h").expect("a valid one"),
            policy: None,
            external_id: None,
            source_identity: None,
            keep_warm: false,
            sink: Plan::default(),
            allow: Vec::new(),
            name,
        }
    }
}

/// One mistake, ready to be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The configuration file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The key, with its table.
    pub key: String,
    /// What is wrong, or what is allowed.
    pub problem: String,
    /// What to do.
    pub hint: String,
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    region: Option<Spanned<String>>,
    #[serde(default)]
    vpc: bool,
    endpoint: Option<Spanned<String>>,
    sts_calls_per_second: Option<Spanned<u32>>,
    #[serde(default)]
    audit: RawAudit,
    http: Option<RawHttp>,
    #[serde(default)]
    source: BTreeMap<Spanned<String>, RawSource>,
    #[serde(default)]
    profile: BTreeMap<Spanned<String>, RawProfile>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAudit {
    file: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    listen: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    #[serde(rename = "type")]
    kind: Spanned<String>,
    access_key_file: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProfile {
    source: Spanned<String>,
    role_arn: Spanned<String>,
    role_session_name: Option<Spanned<String>>,
    duration: Option<Spanned<String>>,
    policy_file: Option<Spanned<String>>,
    external_id: Option<Spanned<String>>,
    source_identity: Option<Spanned<String>>,
    #[serde(default)]
    keep_warm: bool,
    file: Option<sink::RawFile>,
    on_renewal: Option<Spanned<Vec<Spanned<String>>>>,
    allow: Option<Spanned<Vec<Spanned<String>>>>,
}

/// Reads and checks a configuration with all the files it names.
///
/// # Errors
/// [`Mistakes`], as many as could be found.
pub fn load(path: &Path, parts: &NameParts) -> Result<Config, Mistakes> {
    match read(path) {
        Ok(text) => parse(text, path, parts),
        Err(error) => {
            let mut reader = Reader::new(path, String::new());
            let hint = "write it as docs/configuration.md shows, or set STSD_CONFIG";
            reader.mistake(0, "", &format!("cannot be read: {error}"), hint);
            Err(Mistakes(reader.mistakes))
        }
    }
}

/// Checks the text of a configuration that stands at `path`, with all the files it names.
pub(crate) fn parse(text: String, path: &Path, parts: &NameParts) -> Result<Config, Mistakes> {
    let mut reader = Reader::new(path, text);
    match toml::from_str::<Raw>(&reader.text) {
        Ok(raw) => reader.config(raw, parts),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let message = without_values(error.message());
            let key = key_at(&reader.text, at);
            reader.mistake(at, &key, &message, "see docs/configuration.md");
            Err(Mistakes(reader.mistakes))
        }
    }
}

impl Mistakes {
    /// Says that a key cannot be used for a reason that its value does not show.
    pub(crate) fn whole_file(file: &Path, key: &str, problem: &str) -> Self {
        Self(vec![Mistake {
            file: file.to_owned(),
            line: 1,
            key: key.to_owned(),
            problem: problem.to_owned(),
            hint: "look at the daemon's log".to_owned(),
        }])
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: String,
    mistakes: Vec<Mistake>,
    /// The files that are read, or written by others than profiles.
    taken: Vec<PathBuf>,
    /// The files that profiles write.
    files: Vec<Named>,
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path, text: String) -> Self {
        Self {
            path,
            text,
            mistakes: Vec::new(),
            taken: vec![path.to_owned()],
            files: Vec::new(),
        }
    }

    fn config(mut self, raw: Raw, parts: &NameParts) -> Result<Config, Mistakes> {
        let endpoint = self.endpoint(&raw);
        let calls_per_second = self.calls_per_second(raw.sts_calls_per_second.as_ref());
        let http = raw.http.as_ref().and_then(|it| self.http(&it.listen));
        let audit_file = raw.audit.file.as_ref().map(|file| Named {
            path: self.beside(file.get_ref()),
            line: self.line(file.span().start),
            key: "audit.file".to_owned(),
        });
        let mut sources = BTreeMap::new();
        for (name, source) in &raw.source {
            let read = self.source(name.get_ref(), source);
            sources.insert(name.get_ref().clone(), read);
        }
        let mut profiles = BTreeMap::new();
        for (name, raw) in &raw.profile {
            if let Some(profile) = self.profile(name, raw, &sources, parts) {
                profiles.insert(profile.name.clone(), Arc::new(profile));
            }
        }
        if raw.profile.is_empty() {
            let hint = "add a [profile.NAME] table as docs/configuration.md shows";
            self.mistake(0, "profile", "there is no profile", hint);
        }
        self.no_file_twice();
        match endpoint {
            Some(endpoint) if self.mistakes.is_empty() => Ok(Config {
                path: self.path.to_owned(),
                endpoint,
                sts_calls_per_second: calls_per_second,
                http,
                audit_file,
                files: self.files,
                profiles,
            }),
            _ => Err(Mistakes(self.mistakes)),
        }
    }

    fn endpoint(&mut self, raw: &Raw) -> Option<Endpoint> {
        let (key, span, made) = match (&raw.endpoint, &raw.region) {
            (Some(url), _) => ("endpoint", url.span(), Endpoint::custom(url.get_ref())),
            (None, Some(region)) if raw.vpc => {
                ("region", region.span(), Endpoint::vpc(region.get_ref()))
            }
            (None, Some(region)) => (
                "region",
                region.span(),
                Endpoint::regional(region.get_ref()),
            ),
            (None, None) if raw.vpc => {
                self.mistake(
                    0,
                    "vpc",
                    "a vpc endpoint needs a region",
                    "add region = \"…\"",
                );
                return None;
            }
            (None, None) => return Some(Endpoint::global()),
        };
        made.map_err(|error| {
            let hint = "the regions are listed in the service's documentation of its endpoints";
            self.mistake(span.start, key, &error.to_string(), hint);
        })
        .ok()
    }

    fn http(&mut self, listen: &Spanned<String>) -> Option<SocketAddr> {
        match listen.get_ref().parse() {
            Ok(SocketAddr::V4(address)) if *address.ip() == Ipv4Addr::LOCALHOST => {
                Some(address.into())
            }
            _ => {
                let problem = "it is answered on 127.0.0.1 alone, with a port; 0 picks one";
                let hint = "listen = \"127.0.0.1:7787\"";
                self.mistake(listen.span().start, "http.listen", problem, hint);
                None
            }
        }
    }

    fn calls_per_second(&mut self, value: Option<&Spanned<u32>>) -> u32 {
        let Some(value) = value else {
            return DEFAULT_CALLS_PER_SECOND;
        };
        let number = *value.get_ref();
        if !(1..=MOST_CALLS_PER_SECOND).contains(&number) {
            self.mistake(
                value.span().start,
                "sts_calls_per_second",
                &format!("a whole number from 1 to {MOST_CALLS_PER_SECOND} is allowed"),
                "STS allows an account 100 calls a second; leave room for its other machines",
            );
        }
        number
    }

    fn source(&mut self, name: &str, raw: &RawSource) -> Option<Source> {
        let table = format!("source.{name}");
        if raw.kind.get_ref() != "access-key" {
            let hint = "set type = \"access-key\"";
            let at = raw.kind.span().start;
            self.mistake(
                at,
                &format!("{table}.type"),
                "a source's type is access-key",
                hint,
            );
            return None;
        }
        let file = self.beside(raw.access_key_file.get_ref());
        Source::access_key_file(&file)
            .map_err(|error| {
                let problem = format!("{} {error}", file.display());
                let at = raw.access_key_file.span().start;
                self.mistake(
                    at,
                    &format!("{table}.access_key_file"),
                    &problem,
                    error.hint(),
                );
            })
            .ok()
    }

    fn profile(
        &mut self,
        name: &Spanned<String>,
        raw: &RawProfile,
        sources: &BTreeMap<String, Option<Source>>,
        parts: &NameParts,
    ) -> Option<Profile> {
        let table = format!("profile.{}", name.get_ref());
        let at = name.span().start;
        let name = self.checked(ProfileName::new(name.get_ref()), at, &table)?;

        let source = sources.get(raw.source.get_ref());
        if source.is_none() {
            let known: Vec<_> = sources.keys().map(String::as_str).collect();
            let problem = format!("no source of that name; there are: {}", known.join(", "));
            let hint = "name a [source.NAME] of this file";
            self.mistake(
                raw.source.span().start,
                &format!("{table}.source"),
                &problem,
                hint,
            );
        }
        let role_arn = self.value(&raw.role_arn, &table, "role_arn", RoleArn::new);
        let default = Spanned::new(0..0, "{user}-{host}".to_owned());
        let template = raw.role_session_name.as_ref().unwrap_or(&default);
        let expand = |text: &str| RoleSessionName::expand(text, parts, &name);
        let session_name = self.value(template, &table, "role_session_name", expand);
        let duration = match &raw.duration {
            Some(duration) => self.value(duration, &table, "duration", SessionDuration::new),
            None => Some(SessionDuration::DEFAULT),
        };
        let policy = self.policy(raw.policy_file.as_ref(), &table);
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
        let sink = Plan {
            file: raw.file.as_ref().and_then(|it| self.file(it, &table)),
            command: self.command(raw.on_renewal.as_ref(), &table),
        };
        let allow = self.rules(raw.allow.as_ref(), &table);
        Some(Profile {
            name,
            source: source?.clone()?,
            role_arn: role_arn?,
            role_session_name: session_name?,
            duration: duration?,
            policy,
            external_id,
            source_identity,
            keep_warm: raw.keep_warm,
            sink,
            allow,
        })
    }

    fn rules(&mut self, rules: Option<&Spanned<Vec<Spanned<String>>>>, table: &str) -> Vec<Rule> {
        let Some(rules) = rules else {
            return Vec::new();
        };
        let key = format!("{table}.allow");
        if rules.get_ref().is_empty() {
            let hint = "name somebody, or leave the key out";
            self.mistake(
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
                    self.mistake(at, &key, &error.to_string(), error.hint());
                }
            }
        }
        read
    }

    fn policy(&mut self, file: Option<&Spanned<String>>, table: &str) -> Option<SessionPolicy> {
        let file = file?;
        let path = self.beside(file.get_ref());
        let policy = match read(&path) {
            Ok(text) => SessionPolicy::new(&text).map_err(|error| error.to_string()),
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        policy
            .map_err(|problem| {
                let key = format!("{table}.policy_file");
                let problem = format!("{}: {problem}", path.display());
                self.mistake(file.span().start, &key, &problem, "correct that file");
            })
            .ok()
    }

    fn value<T>(
        &mut self,
        value: &Spanned<String>,
        table: &str,
        key: &str,
        check: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        let checked = check(value.get_ref());
        self.checked(checked, value.span().start, &format!("{table}.{key}"))
    }

    fn checked<T>(&mut self, checked: Result<T, Invalid>, at: usize, key: &str) -> Option<T> {
        checked
            .map_err(|error| {
                let hint = "see docs/configuration.md for what each key takes";
                self.mistake(at, key, &error.to_string(), hint);
            })
            .ok()
    }

    /// Paths are relative to the configuration file.
    fn beside(&mut self, file: &str) -> PathBuf {
        let path = self.resolve(file);
        self.taken.push(path.clone());
        path
    }

    fn resolve(&self, file: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new(".")).join(file)
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        1 + before.matches('\n').count()
    }

    fn mistake(&mut self, at: usize, key: &str, problem: &str, hint: &str) {
        self.mistake_on(self.line(at), key, problem, hint);
    }

    fn mistake_on(&mut self, line: usize, key: &str, problem: &str, hint: &str) {
        self.mistakes.push(Mistake {
            file: self.path.to_owned(),
            line,
            key: one_line(key),
            problem: one_line(problem),
            hint: hint.to_owned(),
        });
    }
}

fn read(path: &Path) -> io::Result<String> {
    let (file, _) = file::open(path, LARGEST_FILE)?;
    Ok(file::read(file, LARGEST_FILE)?.to_string())
}

type Check = fn(&str) -> Result<String, Invalid>;

/// Returns the key on the line at a byte, if the line has the shape of one.
fn key_at(text: &str, at: usize) -> String {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let key = line.split('=').next().unwrap_or_default().trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-[]".contains(c);
    let shown = line.contains('=') || line.starts_with('[');
    if shown && key.len() <= 80 && key.chars().all(plain) {
        key.trim_matches(['[', ']']).to_owned()
    } else {
        String::new()
    }
}

/// The parser quotes values that have the wrong type, and a misplaced value may be a secret.
fn without_values(message: &str) -> String {
    let wrong = message.starts_with("invalid type") || message.starts_with("invalid value");
    match message.rsplit_once(", expected") {
        Some((_, expected)) if wrong => format!("a value of the wrong type, expected{expected}"),
        _ => message.to_owned(),
    }
}

/// A quoted name may hold anything, and a mistake goes to logs and terminals.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{} (hint: {})", self.problem, self.hint)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
