//! The identity of a `[source.NAME]` table, with the checks of files and programs that are possible
//! before the first resolution.

use std::{path::PathBuf, sync::Arc};

use sha2::{Digest as _, Sha256};
use stsd_codes::Code;

use super::{
    command::{self, RawProgram, reject_without_program},
    context::ReadContext,
    known_keys,
    raw_source::{KEY_LOCATIONS, KINDS, RawSource, RawVariables, Text, Words},
    stand_in::StandIn,
    suggestion,
    suggestion::shown,
};
use crate::{
    identity::{
        AccessKey, CredentialsUri, EcsRole, IdentityCommand, KeyFileError, MetadataEndpoint, Oidc,
        PrivateFileError, Process, Saml, TokenSource, UriAddress, secret_file,
    },
    profile,
    profile::{CachedIdentity, SourceError},
    runtime::program::Program,
};

/// The variables with the provider and the token file that RRSA sets in a pod.
pub(super) const PROVIDER_VARIABLE: &str = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN";
pub(super) const TOKEN_VARIABLE: &str = "ALIBABA_CLOUD_OIDC_TOKEN_FILE";

/// The provider of the variable [`PROVIDER_VARIABLE`] on another machine.
const STAND_IN_PROVIDER: &str = "acs:ram::100000000000001:oidc-provider/stand-in";

/// The hint of an invalid identity command.
const COMMAND_EXAMPLE: &str = "[\"/usr/local/bin/issue\", \"--flag\"]; no shell reads it";

/// A source, as a profile uses it.
#[derive(Clone)]
pub(super) struct SourceSpec {
    pub source: CachedIdentity,
    pub kind: Kind,
}

/// The kinds of sources that differ for a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Signs AssumeRole.
    Credentials,
    /// A token for AssumeRoleWithOIDC.
    Oidc,
    /// An assertion for AssumeRoleWithSAML.
    Saml,
    /// A session that signs AssumeRole or is passed through.
    Session,
    /// Another profile's session, which signs AssumeRole.
    Profile,
}

/// The reader of one table.
struct SourceReader<'r, 'c, 'p> {
    context: &'c mut ReadContext<'p>,
    table: String,
    raw: &'r RawSource,
}

/// Returns the source of a table; `None` after an error.
pub(super) fn read_source(
    context: &mut ReadContext<'_>,
    name: &str,
    raw: &RawSource,
) -> Option<SourceSpec> {
    let mut reader = SourceReader {
        context,
        table: format!("source.{name}"),
        raw,
    };
    reader.check_keys()?;
    let (source, kind) = match raw.kind.as_ref()?.get_ref().as_str() {
        "access-key" => (reader.access_key()?, Kind::Credentials),
        "oidc" => (reader.oidc()?, Kind::Oidc),
        "ecs-role" => (reader.ecs_role()?, Kind::Session),
        "uri" => (reader.uri()?, Kind::Session),
        "process" => (reader.process()?, Kind::Session),
        _ => (reader.saml()?, Kind::Saml),
    };
    let source = source.named(name);
    Some(SourceSpec { source, kind })
}

impl SourceReader<'_, '_, '_> {
    /// Checks the type, and that the table has no key of another type.
    fn check_keys(&mut self) -> Option<()> {
        // The missing key is reported with those of the other tables.
        let kind = self.raw.kind.as_ref()?.get_ref().as_str();
        let Some((_, known)) = KINDS.iter().find(|(it, _)| *it == kind) else {
            let kinds: Vec<_> = KINDS.iter().map(|(it, _)| *it).collect();
            let problem = format!("{} is not a type of source", shown(kind));
            let hint = suggestion::with_names(kind, &kinds);
            let at = self.kind_position();
            self.error(Code::ConfigUnknownName, at, "type", &problem, &hint);
            return None;
        };
        let mut valid = Some(());
        for (key, at) in self.raw.keys() {
            if !known.contains(&key) {
                let problem = format!("a source of type {kind} has no such key");
                let hint = format!("it takes {}", known.join(", "));
                self.error(Code::ConfigConflict, at, key, &problem, &hint);
                valid = None;
            }
        }
        valid
    }

    fn access_key(&mut self) -> Option<CachedIdentity> {
        let (key, at) = self.one_of(&KEY_LOCATIONS)?;
        if let Some(file) = &self.raw.access_key_file {
            let path = self.context.use_file(file.get_ref(), at);
            if self.context.is_portable() {
                return Some(stand_in());
            }
            let shown = path.display().to_string();
            let provider = self.key_file(AccessKey::in_file(path), at, key, &shown)?;
            return Some(CachedIdentity::new(&["access-key file", &shown], provider));
        }
        if let Some(name) = &self.raw.access_key_credential {
            return self.credential(name.get_ref(), at, key);
        }
        if self.context.is_portable() {
            return Some(stand_in());
        }
        let environment = self.context.environment;
        if let Some(name) = &self.raw.access_key_keyring {
            let name = name.get_ref();
            let provider = AccessKey::in_keyring(name, environment);
            let provider = self.available(provider, at, key)?;
            return Some(CachedIdentity::new(&["access-key keyring", name], provider));
        }
        let RawVariables { id, secret } = self.raw.access_key_env.as_ref()?.get_ref();
        let (id, secret) = (id.as_ref()?.get_ref(), secret.as_ref()?.get_ref());
        let provider = AccessKey::in_variables(id, secret, environment);
        let provider = self.available(provider, at, key)?;
        Some(CachedIdentity::new(
            &["access-key variables", id, secret],
            provider,
        ))
    }

    /// Returns the key in a systemd credential.
    fn credential(&mut self, name: &str, at: usize, key: &str) -> Option<CachedIdentity> {
        let directory = match self.context.environment.credentials_directory() {
            Some(directory) => directory,
            None if self.context.is_portable() => PathBuf::new(),
            None => {
                let problem = "no service manager has given this program any credential";
                let hint = "add LoadCredential= (systemd 247) or LoadCredentialEncrypted= (250) to \
                            its unit; stsd --check is run outside of it";
                self.error(Code::ConfigSource, at, key, problem, hint);
                return None;
            }
        };
        if name.is_empty() || name.contains('/') || name == ".." {
            let hint = "the part before the colon in LoadCredential=";
            let problem = format!("{} is not the name of a credential", shown(name));
            self.error(Code::ConfigInvalidValue, at, key, &problem, hint);
            return None;
        }
        if self.context.is_portable() {
            return Some(stand_in());
        }
        let provider = AccessKey::in_credential(name, directory.join(name));
        let provider = self.key_file(provider, at, key, &format!("the credential {name}"))?;
        Some(CachedIdentity::new(
            &["access-key credential", name],
            provider,
        ))
    }

    fn oidc(&mut self) -> Option<CachedIdentity> {
        let provider_arn = self.provider_arn("oidc-provider");
        let raw = self.raw;
        let (token, declared) = if raw.token_file.is_none() && raw.token_command.is_none() {
            let table = self.table.clone();
            if self.context.is_portable() {
                return Some(stand_in());
            }
            let Some(file) = self.context.environment.text(TOKEN_VARIABLE) else {
                let hint =
                    format!("set token_file or token_command; {TOKEN_VARIABLE} is not set either");
                let at = self.kind_position();
                self.context.error_at(
                    Code::ConfigMissingKey,
                    at,
                    &table,
                    "the token's file or command is missing",
                    &hint,
                );
                return None;
            };
            self.reject_without_program("token_command");
            self.token_file(&file, self.kind_position(), &table)?
        } else {
            let keys = ["token_file", "token_command"];
            self.token(keys, &raw.token_file, &raw.token_command)?
        };
        let provider_arn = provider_arn?;
        let declaration = ["oidc", &provider_arn.clone(), &declared];
        let provider = Oidc {
            provider_arn,
            token,
        };
        Some(CachedIdentity::new(&declaration, provider))
    }

    fn saml(&mut self) -> Option<CachedIdentity> {
        let provider_arn = self.provider_arn("saml-provider");
        let keys = ["assertion_file", "assertion_command"];
        let raw = self.raw;
        let (assertion, declared) =
            self.token(keys, &raw.assertion_file, &raw.assertion_command)?;
        let provider_arn = provider_arn?;
        let declaration = ["saml", &provider_arn.clone(), &declared];
        let provider = Saml {
            provider_arn,
            assertion,
        };
        Some(CachedIdentity::new(&declaration, provider))
    }

    fn ecs_role(&mut self) -> Option<CachedIdentity> {
        let errors_before = self.context.errors.len();
        let role = self.raw.role_name.as_ref().and_then(|it| {
            let check = profile::role_name;
            self.context.value(it, &self.table, "role_name", check)
        });
        let given = self.raw.metadata_endpoint.as_ref();
        let address = given.map_or(MetadataEndpoint::DEFAULT, |it| it.get_ref());
        let endpoint = MetadataEndpoint::new(address).map_err(|error| {
            let at = given.map_or(0, |it| it.span().start);
            let hint = "leave it out on an instance; for another machine use a source of type uri";
            let problem = format!("{}: {error}", shown(address));
            self.error(
                Code::ConfigInvalidValue,
                at,
                "metadata_endpoint",
                &problem,
                hint,
            );
        });
        let endpoint = endpoint.ok()?;
        if self.context.errors.len() > errors_before {
            return None;
        }
        let allow_v1 = self.raw.allow_v1.as_ref().is_some_and(|it| *it.get_ref());
        let version = if allow_v1 { "v1" } else { "v2" };
        let role_name = role.as_deref().unwrap_or_default();
        let declaration = ["ecs-role", endpoint.as_str(), role_name, version].join("\0");
        let provider = EcsRole::new(endpoint, role, allow_v1);
        Some(CachedIdentity::new(&[&declaration], provider))
    }

    fn uri(&mut self) -> Option<CachedIdentity> {
        let (key, at) = self.one_of(&["uri", "uri_file"])?;
        let (provider, address, declaration) = if let Some(file) = &self.raw.uri_file {
            let path = self.context.use_file(file.get_ref(), at);
            if self.context.is_portable() {
                return Some(stand_in());
            }
            let shown = path.display().to_string();
            let proxies = Arc::clone(&self.context.environment.proxies);
            let read = CredentialsUri::in_file(path, proxies).map_err(|error| {
                let problem = format!("{shown} {error}");
                self.error(error.code(), at, key, &problem, &error.hint());
            });
            let (provider, address) = read.ok()?;
            (provider, address, ["uri file", &shown].join("\0"))
        } else {
            let text = self.raw.uri.as_ref()?.get_ref();
            let address = UriAddress::new(text).map_err(|error| {
                let hint = "https anywhere, http to 127.0.0.1 or another literal loopback address";
                self.error(
                    Code::ConfigInvalidValue,
                    at,
                    key,
                    &format!("the URI {error}"),
                    hint,
                );
            });
            let address = address.ok()?;
            // A digest: the URI may hold a secret, and the fingerprint is only compared.
            let digest: String = Sha256::digest(text.as_bytes())
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let declaration = ["uri", &digest].join("\0");
            let proxies = Arc::clone(&self.context.environment.proxies);
            let provider = CredentialsUri::new(address.clone(), proxies);
            (provider, address, declaration)
        };
        if self.context.http.is_some_and(|it| address.leads_to(it)) {
            let hint = "source = \"NAME\" of another profile chains roles, without a URI";
            let problem = "it leads back to this daemon, which listens there ([http])";
            self.error(Code::ConfigConflict, at, key, problem, hint);
            return None;
        }
        Some(CachedIdentity::new(&[&declaration], provider))
    }

    fn process(&mut self) -> Option<CachedIdentity> {
        let (key, _) = self.one_of(&["command"])?;
        let (program, declared) = self.program(self.raw.command.as_ref()?, key)?;
        let declaration = ["process", &declared];
        Some(CachedIdentity::new(&declaration, Process { program }))
    }

    fn provider_arn(&mut self, kind: &str) -> Option<String> {
        let (given, at) = match &self.raw.provider_arn {
            Some(given) => (given.get_ref().clone(), given.span().start),
            None => {
                let at = self.kind_position();
                let given = match self.context.is_portable() {
                    true => Some(STAND_IN_PROVIDER.to_owned()),
                    false => self.context.environment.text(PROVIDER_VARIABLE),
                };
                let Some(given) = given.filter(|_| kind == "oidc-provider") else {
                    let hint = "set it to acs:ram::<account number>:…, as the console shows it";
                    self.error(
                        Code::ConfigMissingKey,
                        at,
                        "provider_arn",
                        "the provider is missing",
                        hint,
                    );
                    return None;
                };
                (given, at)
            }
        };
        let key = format!("{}.provider_arn", self.table);
        self.context
            .checked(profile::provider_arn(&given, kind), Some(&given), at, &key)
    }

    /// Returns the source of a token, and the part of the fingerprint that identifies the source.
    fn token(
        &mut self,
        keys: [&'static str; 2],
        file: &Text,
        command: &Words,
    ) -> Option<(TokenSource, String)> {
        let (key, at) = self.one_of(&keys)?;
        if let Some(file) = file {
            self.reject_without_program(keys[1]);
            let key = format!("{}.{key}", self.table);
            return self.token_file(file.get_ref(), at, &key);
        }
        let (program, declared) = self.program(command.as_ref()?, key)?;
        Some((TokenSource::Command(program), declared))
    }

    fn token_file(&mut self, file: &str, at: usize, key: &str) -> Option<(TokenSource, String)> {
        let path = self.context.use_file(file, at);
        if !self.context.is_portable()
            && let Err(error) = secret_file::check_token(&path)
        {
            let problem = match &error {
                PrivateFileError::Unreadable(error) => format!("{}: {error}", path.display()),
                PrivateFileError::Untrusted(loose) => format!("{} {loose}", path.display()),
            };
            let missing = "name the file that the token's issuer renews";
            let hint = error.hint(missing, missing);
            self.context
                .error_at(error.code(), at, key, &problem, &hint);
            return None;
        }
        let declared = format!("file {}", path.display());
        Some((TokenSource::in_file(path), declared))
    }

    /// Returns a command, and the part of the fingerprint that identifies the command.
    fn program(
        &mut self,
        command: &command::Words,
        key: &str,
    ) -> Option<(IdentityCommand, String)> {
        let errors_before = self.context.errors.len();
        let raw = RawProgram {
            table: &self.table,
            key,
            command,
            example: COMMAND_EXAMPLE,
            writable: self.raw.writable.as_ref(),
            environment: self.raw.environment.as_ref(),
        };
        let program = command::program(self.context, &raw);
        if self.context.errors.len() > errors_before {
            return None;
        }
        let declared = format!("command {}", fingerprint(&program));
        let environment = self.context.environment;
        Some((IdentityCommand::new(program, environment), declared))
    }

    /// Rejects the keys of a program in a table without one.
    fn reject_without_program(&mut self, command: &str) {
        let (writable, environment) = (self.raw.writable.as_ref(), self.raw.environment.as_ref());
        let keys = [("writable", writable), ("environment", environment)];
        reject_without_program(self.context, &self.table, command, keys);
    }

    /// Returns the one key of the table among keys that exclude each other.
    fn one_of(&mut self, keys: &[&'static str]) -> Option<(&'static str, usize)> {
        let present = self.raw.keys().into_iter();
        let present: Vec<_> = present.filter(|(key, _)| keys.contains(key)).collect();
        if let [one] = present[..] {
            return Some(one);
        }
        let at = present.get(1).map_or(self.kind_position(), |(_, at)| *at);
        let problem = format!("exactly one is needed of {}", keys.join(", "));
        let example = keys.first().and_then(|it| known_keys::example(it));
        let (code, hint) = match (&present[..], example) {
            ([], Some(example)) => (Code::ConfigMissingKey, format!("for example {example}")),
            ([], None) => (
                Code::ConfigMissingKey,
                "see man stsd-config for the keys of each type".to_owned(),
            ),
            _ => (Code::ConfigConflict, "keep one of them".to_owned()),
        };
        self.context
            .error_at(code, at, &self.table, &problem, &hint);
        None
    }

    /// Returns the provider of a key file; an error is one of the key.
    fn key_file(
        &mut self,
        read: Result<AccessKey, KeyFileError>,
        at: usize,
        key: &str,
        shown: &str,
    ) -> Option<AccessKey> {
        read.map_err(|error| {
            let problem = format!("{shown} {error}");
            self.error(error.code(), at, key, &problem, &error.hint());
        })
        .ok()
    }

    /// Returns the provider of a key that is not in a file; an error is one of the key.
    fn available(
        &mut self,
        read: Result<AccessKey, SourceError>,
        at: usize,
        key: &str,
    ) -> Option<AccessKey> {
        read.map_err(|error| {
            self.error(Code::ConfigSource, at, key, &error.to_string(), &error.hint);
        })
        .ok()
    }

    fn kind_position(&self) -> usize {
        self.raw.kind.as_ref().map_or(0, |it| it.span().start)
    }

    /// Adds an error of a key of the table.
    fn error(&mut self, code: Code, at: usize, key: &str, problem: &str, hint: &str) {
        let key = format!("{}.{key}", self.table);
        self.context.error_at(code, at, &key, problem, hint);
    }
}

/// Returns the source of a portable check, whose file, credential or variable another machine has.
fn stand_in() -> CachedIdentity {
    CachedIdentity::new(&["stand-in"], StandIn)
}

/// Returns the text that identifies a program. Another environment may lead to another identity.
fn fingerprint(program: &Program) -> String {
    let mut parts = program.words.clone();
    let paths = program.writable.iter().map(|it| it.display().to_string());
    let keys = [
        ("writable", paths.collect()),
        ("environment", program.environment.clone()),
    ];
    for (key, values) in keys {
        if !values.is_empty() {
            parts.push(format!("\u{1}{key}"));
            parts.extend(values);
        }
    }
    parts.join("\0")
}
