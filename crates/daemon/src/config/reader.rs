//! How a configuration is read: TOML in, types that cannot hold what is wrong out, with
//! every mistake on the way.

mod export;
mod profile;
#[cfg(test)]
mod reference;
mod source;
mod spanned;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use stsd_sts::Endpoint;

use self::{profile::RawProfile, source::RawSource, spanned::Spanned};
use super::{Config, ConfigError, ConfigErrors, FileRef};
use crate::{identity::ProcessEnvironment, profile::Invalid, runtime::file_watch};

/// A configuration file is small; more than this is some other file.
const MAX_FILE_BYTES: usize = 1024 * 1024;

/// What STS may get from this machine: a fifth of what it allows an account, because other
/// machines of the account call too.
const DEFAULT_CALLS_PER_SECOND: u32 = 20;

/// What STS allows an account, users and roles together.
const MAX_CALLS_PER_SECOND: u32 = 100;

/// The whole file. What is said of the keys, here and in the tables below, is what
/// docs/configuration-reference.md says of them: a test makes the page of it.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Raw {
    /// STS of this region is asked, `sts.<region>.aliyuncs.com`.
    region: Option<Spanned<String>>,
    /// The region's address inside its private network, `sts-vpc.<region>.aliyuncs.com`; not
    /// every region has one.
    #[serde(default)]
    vpc: bool,
    /// An address of your own, `https://host[:port]`; `http://` only to a literal loopback
    /// address. It comes before `region` and `vpc`.
    endpoint: Option<Spanned<String>>,
    /// How many calls a second STS may get from this daemon, 1 to 100, with a burst of a
    /// second's worth and of two at least. STS allows an account 100, shared by all its machines.
    sts_calls_per_second: Option<Spanned<u32>>,
    /// Who got what, [in a file](operations.md#who-got-what) besides the log.
    #[serde(default)]
    audit: RawAudit,
    /// Credentials [by a URL](configuration.md#http-credentials-by-a-url), on loopback.
    http: Option<RawHttp>,
    /// [Who we are](configuration.md#sourcename-who-we-are). Which keys there are besides `type`
    /// depends on it.
    #[serde(default)]
    source: BTreeMap<Spanned<String>, RawSource>,
    /// [What we become](configuration.md#profilename-what-we-become). A name is 1 to 64 of
    /// `A-Z a-z 0-9 . _ -` and begins with a letter or digit; there is one profile at least.
    #[serde(default)]
    profile: BTreeMap<Spanned<String>, RawProfile>,
}

#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawAudit {
    /// Each hand-out and each refusal is a line of JSON in this file. Made with mode 0600;
    /// anything looser, a link or something that is not a file is refused. Opened anew by a reload.
    file: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawHttp {
    /// `"127.0.0.1:PORT"`, and no other address; port 0 picks one.
    listen: Spanned<String>,
}

/// Reads and checks a configuration with all the files it names.
///
/// # Errors
/// [`ConfigErrors`], as many as could be found.
pub fn load(path: &Path, environment: &ProcessEnvironment) -> Result<Config, ConfigErrors> {
    match read(path) {
        Ok(text) => parse(text, path, environment),
        Err(error) => {
            let mut reader = Reader::new(path, String::new());
            let hint = "write it as docs/configuration.md shows, or set STSD_CONFIG";
            reader.error_at(0, "", &format!("cannot be read: {error}"), hint);
            Err(ConfigErrors(reader.errors))
        }
    }
}

/// Checks the text of a configuration that stands at `path`, with all the files it names.
pub(crate) fn parse(
    text: String,
    path: &Path,
    environment: &ProcessEnvironment,
) -> Result<Config, ConfigErrors> {
    let mut reader = Reader::new(path, text);
    match toml::from_str::<Raw>(&reader.text) {
        Ok(raw) => reader.config(raw, environment),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let message = without_values(error.message());
            let key = key_at(&reader.text, at);
            reader.error_at(
                at,
                &key,
                &message,
                "docs/configuration-reference.md has every key",
            );
            Err(ConfigErrors(reader.errors))
        }
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: String,
    errors: Vec<ConfigError>,
    /// The files that are read, or written by others than profiles.
    taken: Vec<PathBuf>,
    /// The files that profiles write.
    files: Vec<FileRef>,
    /// Where credentials are given by HTTP.
    http: Option<SocketAddr>,
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path, text: String) -> Self {
        Self {
            path,
            text,
            errors: Vec::new(),
            taken: vec![path.to_owned()],
            files: Vec::new(),
            http: None,
        }
    }

    fn config(
        mut self,
        raw: Raw,
        environment: &ProcessEnvironment,
    ) -> Result<Config, ConfigErrors> {
        let endpoint = self.endpoint(&raw);
        let calls_per_second = self.calls_per_second(raw.sts_calls_per_second.as_ref());
        self.http = raw.http.as_ref().and_then(|it| self.http(&it.listen));
        let audit_file = raw.audit.file.as_ref().map(|file| FileRef {
            path: self.beside(file.get_ref()),
            line: self.line(file.span().start),
            key: "audit.file".to_owned(),
        });
        let mut sources = BTreeMap::new();
        for (name, source) in &raw.source {
            let read = self.source(name.get_ref(), source, environment);
            sources.insert(name.get_ref().clone(), read);
        }
        let profiles = self.profiles(&raw.profile, &sources, environment);
        if raw.profile.is_empty() {
            let hint = "add a [profile.NAME] table as docs/configuration.md shows";
            self.error_at(0, "profile", "there is no profile", hint);
        }
        self.reject_duplicate_files(environment);
        match endpoint {
            Some(endpoint) if self.errors.is_empty() => Ok(Config {
                path: self.path.to_owned(),
                endpoint,
                sts_calls_per_second: calls_per_second,
                http: self.http,
                audit_file,
                files: self.files,
                profiles,
            }),
            _ => Err(ConfigErrors(self.errors)),
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
                self.error_at(
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
            self.error_at(span.start, key, &error.to_string(), hint);
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
                self.error_at(listen.span().start, "http.listen", problem, hint);
                None
            }
        }
    }

    fn calls_per_second(&mut self, value: Option<&Spanned<u32>>) -> u32 {
        let Some(value) = value else {
            return DEFAULT_CALLS_PER_SECOND;
        };
        let number = *value.get_ref();
        if !(1..=MAX_CALLS_PER_SECOND).contains(&number) {
            self.error_at(
                value.span().start,
                "sts_calls_per_second",
                &format!("a whole number from 1 to {MAX_CALLS_PER_SECOND} is allowed"),
                "STS allows an account 100 calls a second; leave room for its other machines",
            );
        }
        number
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
                let hint = "docs/configuration-reference.md has what each key takes";
                self.error_at(at, key, &error.to_string(), hint);
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

    fn error_at(&mut self, at: usize, key: &str, problem: &str, hint: &str) {
        self.error_on_line(self.line(at), key, problem, hint);
    }

    fn error_on_line(&mut self, line: usize, key: &str, problem: &str, hint: &str) {
        self.errors.push(ConfigError {
            file: self.path.to_owned(),
            line,
            key: one_line(key),
            problem: one_line(problem),
            hint: hint.to_owned(),
        });
    }
}

fn read(path: &Path) -> io::Result<String> {
    let (file, _) = file_watch::open(path, MAX_FILE_BYTES)?;
    Ok(file_watch::read(file, MAX_FILE_BYTES)?.to_string())
}

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
