//! The reader of a configuration: TOML in, validated types and all errors out.

mod command;
mod context;
mod endpoint;
mod export;
mod files;
mod fragments;
mod http;
mod known_keys;
mod merge;
mod metrics;
mod profile;
mod raw_source;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod schema;
mod source;
mod spanned;
mod stand_in;
mod suggestion;
mod syntax;
mod table_check;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;
use stsd_codes::Code;
use stsd_model::parse_duration;
use toml::de::DeTable;

pub use self::context::Scope;
use self::{
    context::ReadContext, files::ConfigText, http::RawHttp, metrics::RawMetrics,
    profile::RawProfile, raw_source::RawSource, spanned::Spanned, suggestion::shown,
    syntax::BrokenText,
};
use super::{AuditDestination, Config, ConfigErrors, ReloadTrigger, calls_sts};
use crate::{
    identity::ProcessEnvironment,
    runtime::{
        path_state::PathState,
        trust,
        trust::{Purpose, TrustError},
    },
};

/// Default rate limit of the calls to STS: a fifth of the quota, because other machines of the account
/// call STS in the same region too.
const DEFAULT_CALLS_PER_SECOND: u32 = 20;

/// Maximum of `fleet_spread`: two million machines at the quota of STS, the most that sessions of
/// 12 hours allow.
const MAX_FLEET_SPREAD: Duration = Duration::from_secs(6 * 3600);

/// The quota of STS for one account, region and API, all users and roles together. Source: the quota
/// page of the STS API in Alibaba Cloud's documentation.
const MAX_CALLS_PER_SECOND: u32 = 100;

/// The value of `[audit] file` for the standard output.
const STDOUT: &str = "-";

/// The file. The doc comments of the keys, here and in the tables below, are the text of
/// docs/configuration-reference.md and of the list in stsd-config(5), which a test compares.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Raw {
    /// The region of STS: the endpoint is `sts.<region>.aliyuncs.com`. Without `region`, `vpc`,
    /// `endpoint` and `endpoints`, the [variables of the
    /// platform](configuration.md#the-variables-of-the-platform) name the endpoint.
    region: Option<Spanned<String>>,
    /// Use the region's endpoint inside its private network, `sts-vpc.<region>.aliyuncs.com`; not
    /// every region has one.
    vpc: Option<Spanned<bool>>,
    /// Another endpoint, `https://host[:port]`; `http://` only to a literal loopback address. It
    /// takes precedence over `region` and `vpc`.
    endpoint: Option<Spanned<String>>,
    /// In place of `endpoint`: up to three endpoints of the same account, that of the region first. An
    /// attempt goes on to the next endpoint if one is not reachable.
    endpoints: Option<Spanned<Vec<Spanned<String>>>>,
    /// The rate limit of this daemon's calls to STS, 1 to 100, with a burst of one second and of two
    /// calls at least. [The quota of STS](configuration.md#the-quota-of-sts) is 100 for each account,
    /// region and API, shared by all machines.
    sts_calls_per_second: Option<Spanned<i64>>,
    /// The events at which the configuration is [read again](configuration.md#reload): `"on-request"`,
    /// SIGHUP and `stsctl reload`; or `"on-change"`, also a change of the file, of a `policy_file` or of
    /// `secret_file`, within seconds, as in a container whose files another program replaces.
    reload: Option<Spanned<String>>,
    /// Write the sessions [to a file at a stop](containers.md#sessions-over-a-restart), beside the socket and on
    /// a tmpfs alone; the next start reads and removes the file. For a container; systemd keeps the sessions
    /// without it.
    #[serde(default)]
    keep_sessions: bool,
    /// The time over which [the machines of a fleet](configuration.md#a-fleet-that-starts-at-once) spread
    /// the calls to STS for which no caller waits, `0s` to `6h`: the first one of each `keep_warm` profile
    /// and export after a start, and the retries during an outage. A caller does not wait for it.
    fleet_spread: Option<Spanned<String>>,
    /// The [audit](operations.md), in a file besides the log.
    #[serde(default)]
    audit: RawAudit,
    /// Credentials [by a URL](configuration.md#http-credentials-by-a-url), on loopback.
    http: Option<RawHttp>,
    /// [Metrics and probes](operations.md#metrics-and-probes) over HTTP.
    metrics: Option<RawMetrics>,
    /// The identity that [signs the calls to STS](configuration.md). The keys besides `type` depend
    /// on the type.
    #[serde(default)]
    source: BTreeMap<Spanned<String>, RawSource>,
    /// The [role](configuration.md#profilename-the-role) that programs ask for. A name is 1 to
    /// 64 of `A-Z a-z 0-9 . _ -` and begins with a letter or digit; at least one profile is
    /// required.
    #[serde(default)]
    profile: BTreeMap<Spanned<String>, RawProfile>,
}

#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawAudit {
    /// A file with a line of JSON for each served and each refused request. The daemon creates the
    /// file with mode 0600, and refuses a looser mode, a link, anything but a regular file, and a
    /// [directory that another user can write to](configuration.md#trust-in-files). A reload opens
    /// the file again. `"-"` is the daemon's standard output, for the collector of a container's logs;
    /// lines that are not read at once are lost and counted.
    file: Option<Spanned<String>>,
}

/// Reads and checks a configuration and its fragments; with [`Scope::Host`], also all the files that
/// they name.
///
/// # Errors
/// [`ConfigErrors`], as many as one reading finds.
pub fn load(
    path: &Path,
    environment: &ProcessEnvironment,
    scope: Scope,
) -> Result<Config, ConfigErrors> {
    let (text, read_files) = fragments::read(path, scope);
    match text {
        Ok(text) => parse_all(text, read_files, path, environment, scope),
        Err(errors) => Err(ConfigErrors {
            read_files,
            ..ConfigErrors::from(errors)
        }),
    }
}

/// Checks the text of a configuration as if it were at `path`, with all the files that the
/// configuration names.
#[cfg(any(test, fuzzing))]
pub(crate) fn parse(
    text: &str,
    path: &Path,
    environment: &ProcessEnvironment,
) -> Result<Config, ConfigErrors> {
    let mut all = ConfigText::default();
    all.push(path.to_owned(), text);
    parse_all(all, Vec::new(), path, environment, Scope::Host)
}

fn parse_all(
    text: ConfigText,
    read_files: Vec<PathState>,
    path: &Path,
    environment: &ProcessEnvironment,
    scope: Scope,
) -> Result<Config, ConfigErrors> {
    let mut context = ReadContext::new(path, text, environment, scope);
    context.read_files = read_files;
    let text = Arc::clone(&context.text);
    let mut broken = BrokenText::default();
    let mut roots = Vec::new();
    for (start, text) in text.texts() {
        let (root, errors) = DeTable::parse_recoverable(text);
        broken.report(&mut context, text, start, &errors);
        let mut root = root.into_inner();
        if start > 0 {
            merge::shift(&mut root, start);
        }
        roots.push(root);
    }
    context.first_source = roots.iter().find_map(table_check::first_source);
    let mut merged = DeTable::new();
    for mut root in roots {
        table_check::check(&mut context, &mut root);
        merge::merge(&mut context, &mut merged, root);
    }
    let merged = toml::Spanned::new(0..text.len(), merged);
    match Raw::deserialize(toml::Deserializer::from(merged)) {
        Ok(raw) => config(raw, context, broken),
        // The tables have been checked: only a mistake in the list of known keys leads here.
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let key = context.key_at(at);
            let hint = "man stsd-config has an example of every key";
            let problem = "the value cannot be read";
            context.error_at(Code::ConfigInvalidValue, at, &key, problem, hint);
            broken.add_to(&mut context);
            Err(context.into_errors())
        }
    }
}

fn config(
    raw: Raw,
    mut context: ReadContext<'_>,
    broken: BrokenText,
) -> Result<Config, ConfigErrors> {
    check_authorities(&mut context);
    let endpoints = endpoint::endpoints(&mut context, &raw);
    let sts_calls_per_second = calls_per_second(&mut context, raw.sts_calls_per_second.as_ref());
    let reload = reload_trigger(&mut context, raw.reload.as_ref());
    let fleet_spread = fleet_spread(&mut context, raw.fleet_spread.as_ref());
    let http = raw.http.as_ref();
    let http = http.and_then(|it| http::read_http(&mut context, it));
    context.http = http.as_ref().map(|it| it.address);
    let metrics = raw.metrics.as_ref();
    let metrics = metrics.and_then(|it| {
        let http = context.http;
        metrics::read_metrics(&mut context, it, http)
    });
    let audit = raw.audit.file.as_ref().map(|file| match &**file.get_ref() {
        STDOUT => AuditDestination::Stdout,
        path => {
            let at = file.span().start;
            let path = context.use_file(path, at);
            AuditDestination::File(context.file_ref(path, at, "audit.file"))
        }
    });
    let mut sources = BTreeMap::new();
    for (name, raw) in &raw.source {
        let name = name.get_ref();
        sources.insert(name.clone(), source::read_source(&mut context, name, raw));
    }
    let profiles = profile::read_profiles(&mut context, &raw.profile, &sources);
    let has_errors_of_profiles = context
        .errors
        .iter()
        .any(|it| it.key.starts_with("profile"));
    if raw.profile.is_empty() && !has_errors_of_profiles {
        let end = context.text.first_end();
        let hint = "add a [profile.NAME] table as man stsd-config shows";
        context.error_at(
            Code::ConfigMissingKey,
            end,
            "profile",
            "there is no profile",
            hint,
        );
    }
    if let Some((problem, hint)) = context.endpoint_problem.take() {
        match calls_sts(&profiles) {
            true => context.error_of_file(Code::ConfigVariable, &problem, hint),
            false => context.warn_of_file(Code::ConfigVariable, &problem, hint),
        }
    }
    export::reject_duplicate_files(&mut context);
    broken.add_to(&mut context);
    match endpoints {
        Some(endpoints) if context.errors.is_empty() => Ok(Config {
            path: context.path.to_owned(),
            fragments: context.fragments(),
            read_files: context.read_files,
            reload,
            keep_sessions: raw.keep_sessions,
            endpoints,
            warnings: context.warnings,
            sts_calls_per_second,
            fleet_spread,
            http,
            metrics,
            audit,
            files: context.export_files,
            writable: context.writable,
            profiles,
        }),
        _ => Err(context.into_errors()),
    }
}

/// Judges the authorities that the variables of the TLS library name: the authorities decide which
/// server is STS. The TLS library reports a missing file.
fn check_authorities(context: &mut ReadContext<'_>) {
    let file = context.environment.text("SSL_CERT_FILE");
    let directories = context.environment.text("SSL_CERT_DIR");
    let directories = directories.iter().flat_map(env::split_paths);
    let directories: Vec<_> = directories
        .filter(|it| !it.as_os_str().is_empty())
        .collect();
    let certificates = directories.iter().flat_map(|it| certificates(it));
    let in_directories: Vec<_> = directories.iter().cloned().chain(certificates).collect();
    let all = file
        .map(PathBuf::from)
        .into_iter()
        .map(|it| ("SSL_CERT_FILE", it));
    for (name, path) in all.chain(in_directories.into_iter().map(|it| ("SSL_CERT_DIR", it))) {
        if let Err(TrustError::Loose(loose)) = trust::check(&path, Purpose::Decides) {
            let problem = format!("the variable {name}: {} {loose}", path.display());
            context.error_of_file(Code::UntrustedFile, &problem, &loose.hint());
        }
    }
}

/// Returns the certificates of a directory: the TLS library reads the files that are named by a hash, as
/// by `openssl rehash`.
fn certificates(directory: &Path) -> Vec<PathBuf> {
    let is_certificate = |path: &PathBuf| {
        let hash = path
            .file_stem()
            .and_then(|it| it.to_str())
            .unwrap_or_default();
        hash.len() == 8 && hash.bytes().all(|it| it.is_ascii_hexdigit())
    };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|it| it.path()).filter(is_certificate).collect()
}

/// The values of `reload`.
const RELOAD_TRIGGERS: [(&str, ReloadTrigger); 2] = [
    ("on-request", ReloadTrigger::Request),
    ("on-change", ReloadTrigger::Change),
];

fn reload_trigger(context: &mut ReadContext<'_>, value: Option<&Spanned<String>>) -> ReloadTrigger {
    let Some(value) = value else {
        return ReloadTrigger::Request;
    };
    let name = value.get_ref();
    let known = RELOAD_TRIGGERS.into_iter().find(|it| it.0 == name);
    if known.is_none() {
        let problem = format!("{} does not cause a reload", shown(name));
        let hint = suggestion::with_names(name, &RELOAD_TRIGGERS.map(|it| it.0));
        let at = value.span().start;
        context.error_at(Code::ConfigUnknownName, at, "reload", &problem, &hint);
    }
    known.map_or(ReloadTrigger::Request, |it| it.1)
}

fn calls_per_second(context: &mut ReadContext<'_>, value: Option<&Spanned<i64>>) -> u32 {
    let Some(value) = value else {
        return DEFAULT_CALLS_PER_SECOND;
    };
    let number = *value.get_ref();
    let calls = u32::try_from(number).unwrap_or_default();
    if !(1..=MAX_CALLS_PER_SECOND).contains(&calls) {
        context.error_at(
            Code::ConfigInvalidValue,
            value.span().start,
            "sts_calls_per_second",
            &format!("{number} is not a whole number from 1 to {MAX_CALLS_PER_SECOND}"),
            "the quota of STS is 100 calls a second for each account, region and API, shared by all machines",
        );
    }
    calls
}

fn fleet_spread(context: &mut ReadContext<'_>, value: Option<&Spanned<String>>) -> Duration {
    let Some(value) = value else {
        return Duration::ZERO;
    };
    let text = value.get_ref();
    let spread = parse_duration(text).filter(|it| *it <= MAX_FLEET_SPREAD);
    if spread.is_none() {
        context.error_at(
            Code::ConfigInvalidValue,
            value.span().start,
            "fleet_spread",
            &format!("{} is not a duration of 0s to 6h", shown(text)),
            "write it with its unit, as 90s, 20m or 1h30m",
        );
    }
    spread.unwrap_or_default()
}
