//! Decides what a source's table means: which keys each kind takes, and what can be seen of
//! its files and programs before it is asked.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{Reader, Spanned};
use crate::{
    identity::{
        AccessKey, CredentialsUri, EcsRole, IdentityCommand, KeyFileError, MetadataEndpoint, Oidc,
        Process, ProcessEnvironment, Saml, TokenSource, UriAddress,
    },
    profile,
    profile::CachedIdentity,
};

type Text = Option<Spanned<String>>;
type Words = Option<Spanned<Vec<Spanned<String>>>>;

/// By these a pod with RRSA is told its provider and its token.
pub(super) const PROVIDER_VARIABLE: &str = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN";
pub(super) const TOKEN_VARIABLE: &str = "ALIBABA_CLOUD_OIDC_TOKEN_FILE";

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    /// Which kind of identity it is, and with that which other keys there are.
    #[serde(rename = "type")]
    kind: Spanned<String>,
    /// The key is in this file. Mode 0600 or stricter, owned by root or by the user who runs stsd;
    /// anything else is refused.
    access_key_file: Text,
    /// The key is a credential of this name that systemd gives the service with `LoadCredential=`
    /// or `LoadCredentialEncrypted=`: `$CREDENTIALS_DIRECTORY/NAME`.
    access_key_credential: Text,
    /// The key is in the keyring of the user's session, in the item with the attributes
    /// `application=stsd` and `key=NAME`.
    access_key_keyring: Text,
    /// The key is in two variables of the daemon's own environment. For where a secret comes in no
    /// other way: an environment is easily seen and inherited.
    access_key_env: Option<Spanned<RawVariables>>,
    /// The provider in RAM: `acs:ram::<account>:oidc-provider/<name>`, or `saml-provider` for an
    /// assertion.
    provider_arn: Text,
    /// A file with a JSON web token and nothing else, white space around it aside; one that
    /// everybody may write to is refused.
    token_file: Text,
    /// In place of `token_file`: a program that prints the token, by its full path, and its
    /// arguments, under the terms of [`process`](configuration.md#process-what-a-program-prints).
    token_command: Words,
    /// A file with the assertion: what the provider posts as `SAMLResponse`, base64 in one line.
    assertion_file: Text,
    /// In place of `assertion_file`: a program that prints it, by its full path, and its arguments,
    /// under the terms of [`process`](configuration.md#process-what-a-program-prints).
    assertion_command: Words,
    /// The RAM role that is attached to the instance.
    role_name: Text,
    /// Ask without a token where none is to be had (version 1 of the service). That is how a
    /// program of this machine that can be talked into one request gives the credentials away.
    allow_v1: Option<Spanned<bool>>,
    /// Where the metadata are: `http://ADDRESS[:PORT]`, with a literal address that is loopback,
    /// link-local or 100.100.100.200. Whoever answers there says who we are, without TLS, so it may
    /// be this machine or its host and nothing further away.
    metadata_endpoint: Text,
    /// A credentials URI: `https://…`, or `http://` to a literal loopback address. Without a user,
    /// a password or a fragment.
    uri: Text,
    /// A file that holds a credentials URI, when there is a secret in it, as in the URLs that
    /// `stsctl url` prints. Mode 0600, as for a key file; read again each time.
    uri_file: Text,
    /// A program by its full path, and its arguments one by one; no shell reads it. It prints one
    /// [document](configuration.md#process-what-a-program-prints).
    command: Words,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawVariables {
    /// The name of the variable with the AccessKey's id.
    id: Spanned<String>,
    /// The name of the variable with its secret.
    secret: Spanned<String>,
}

/// A source, and what a profile may want of it.
#[derive(Clone)]
pub(super) struct SourceSpec {
    pub source: CachedIdentity,
    pub kind: Kind,
}

/// What differs between sources for those who use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Signs AssumeRole.
    Credentials,
    /// Goes with AssumeRoleWithOIDC.
    Oidc,
    /// Goes with AssumeRoleWithSAML.
    Saml,
    /// Signs AssumeRole, or is handed on as it is.
    Session,
    /// Another profile's session, which signs AssumeRole.
    Profile,
}

/// Where an AccessKey may be kept.
pub(super) const KEY_LOCATIONS: [&str; 4] = [
    "access_key_file",
    "access_key_credential",
    "access_key_keyring",
    "access_key_env",
];

/// The kinds, with the keys that each takes besides `type`.
pub(super) const KINDS: [(&str, &[&str]); 6] = [
    ("access-key", &KEY_LOCATIONS),
    ("oidc", &["provider_arn", "token_file", "token_command"]),
    (
        "saml",
        &["provider_arn", "assertion_file", "assertion_command"],
    ),
    ("ecs-role", &["role_name", "allow_v1", "metadata_endpoint"]),
    ("uri", &["uri", "uri_file"]),
    ("process", &["command"]),
];

impl RawSource {
    /// Returns the keys that are there, and where.
    fn keys(&self) -> Vec<(&'static str, usize)> {
        fn at<T>(value: &Option<Spanned<T>>) -> Option<usize> {
            value.as_ref().map(|it| it.span().start)
        }
        let keys = [
            ("access_key_file", at(&self.access_key_file)),
            ("access_key_credential", at(&self.access_key_credential)),
            ("access_key_keyring", at(&self.access_key_keyring)),
            ("access_key_env", at(&self.access_key_env)),
            ("provider_arn", at(&self.provider_arn)),
            ("token_file", at(&self.token_file)),
            ("token_command", at(&self.token_command)),
            ("assertion_file", at(&self.assertion_file)),
            ("assertion_command", at(&self.assertion_command)),
            ("role_name", at(&self.role_name)),
            ("allow_v1", at(&self.allow_v1)),
            ("metadata_endpoint", at(&self.metadata_endpoint)),
            ("uri", at(&self.uri)),
            ("uri_file", at(&self.uri_file)),
            ("command", at(&self.command)),
        ];
        let there = keys.into_iter();
        there.filter_map(|(key, at)| Some((key, at?))).collect()
    }
}

impl Reader<'_> {
    pub(super) fn source(
        &mut self,
        name: &str,
        raw: &RawSource,
        environment: &ProcessEnvironment,
    ) -> Option<SourceSpec> {
        let table = format!("source.{name}");
        let kind = raw.kind.get_ref().as_str();
        let Some((_, known)) = KINDS.iter().find(|(it, _)| *it == kind) else {
            let kinds: Vec<_> = KINDS.iter().map(|(it, _)| *it).collect();
            let problem = format!("a source's type is one of {}", kinds.join(", "));
            let at = raw.kind.span().start;
            let hint = "see docs/configuration.md for what each needs";
            self.error_at(at, &format!("{table}.type"), &problem, hint);
            return None;
        };
        let mut fits = true;
        for (key, at) in raw.keys() {
            if !known.contains(&key) {
                let problem = format!("a source of type {kind} has no such key");
                let hint = format!("it takes {}", known.join(", "));
                self.error_at(at, &format!("{table}.{key}"), &problem, &hint);
                fits = false;
            }
        }
        if !fits {
            return None;
        }
        match kind {
            "access-key" => self.access_key(&table, raw, environment),
            "oidc" => self.oidc(&table, raw, environment),
            "ecs-role" => self.ecs_role(&table, raw),
            "uri" => self.uri(&table, raw),
            "process" => self.process(&table, raw, environment),
            _ => self.saml(&table, raw, environment),
        }
    }

    fn access_key(
        &mut self,
        table: &str,
        raw: &RawSource,
        environment: &ProcessEnvironment,
    ) -> Option<SourceSpec> {
        let key = self.one_of(table, raw, &KEY_LOCATIONS)?;
        let (at, key) = (key.1, format!("{table}.{}", key.0));
        let source = if let Some(file) = &raw.access_key_file {
            let path = self.beside(file.get_ref());
            let shown = path.display().to_string();
            let made = AccessKey::in_file(path);
            let made = self.key_file(made, at, &key, &shown)?;
            CachedIdentity::new(&["access-key file", &shown], made)
        } else if let Some(name) = &raw.access_key_credential {
            let name = name.get_ref();
            let Some(directory) = environment.credentials_directory() else {
                let problem = "no service manager has given this program any credential";
                let hint = "add LoadCredential= or LoadCredentialEncrypted= to its unit; \
                            stsd --check is run outside of it";
                self.error_at(at, &key, problem, hint);
                return None;
            };
            if name.is_empty() || name.contains('/') || name == ".." {
                let hint = "the part before the colon in LoadCredential=";
                self.error_at(at, &key, "a credential has a plain name", hint);
                return None;
            }
            let made = AccessKey::in_credential(name, directory.join(name));
            let made = self.key_file(made, at, &key, &format!("the credential {name}"))?;
            CachedIdentity::new(&["access-key credential", name], made)
        } else if let Some(name) = &raw.access_key_keyring {
            let name = name.get_ref();
            let made = AccessKey::in_keyring(name, environment);
            let made = made.map_err(|error| {
                self.error_at(at, &key, &error.to_string(), &error.hint);
            });
            CachedIdentity::new(&["access-key keyring", name], made.ok()?)
        } else {
            let RawVariables { id, secret } = raw.access_key_env.as_ref()?.get_ref();
            let (id, secret) = (id.get_ref(), secret.get_ref());
            let made = AccessKey::in_variables(id, secret, environment);
            let made = made.map_err(|error| {
                self.error_at(at, &key, &error.to_string(), &error.hint);
            });
            CachedIdentity::new(&["access-key variables", id, secret], made.ok()?)
        };
        Some(SourceSpec {
            source,
            kind: Kind::Credentials,
        })
    }

    fn key_file(
        &mut self,
        made: Result<AccessKey, KeyFileError>,
        at: usize,
        key: &str,
        shown: &str,
    ) -> Option<AccessKey> {
        made.map_err(|error| self.error_at(at, key, &format!("{shown} {error}"), error.hint()))
            .ok()
    }

    fn oidc(
        &mut self,
        table: &str,
        raw: &RawSource,
        environment: &ProcessEnvironment,
    ) -> Option<SourceSpec> {
        let provider_arn = self.provider(table, raw, "oidc-provider", environment);
        let given = environment.text(TOKEN_VARIABLE);
        let (token, place) = if raw.token_file.is_none() && raw.token_command.is_none() {
            let Some(file) = given else {
                let hint =
                    format!("set token_file or token_command; {TOKEN_VARIABLE} is not set either");
                let at = raw.kind.span().start;
                self.error_at(
                    at,
                    table,
                    "it is not said where the token comes from",
                    &hint,
                );
                return None;
            };
            self.token_file(&file, raw.kind.span().start, table)?
        } else {
            let keys = ["token_file", "token_command"];
            let places = (&raw.token_file, &raw.token_command);
            self.token(table, raw, keys, places, environment)?
        };
        let provider_arn = provider_arn?;
        let declaration = ["oidc", &provider_arn.clone(), &place];
        let identity = Oidc {
            provider_arn,
            token,
        };
        let source = CachedIdentity::new(&declaration, identity);
        Some(SourceSpec {
            source,
            kind: Kind::Oidc,
        })
    }

    fn saml(
        &mut self,
        table: &str,
        raw: &RawSource,
        environment: &ProcessEnvironment,
    ) -> Option<SourceSpec> {
        let provider_arn = self.provider(table, raw, "saml-provider", environment);
        let keys = ["assertion_file", "assertion_command"];
        let places = (&raw.assertion_file, &raw.assertion_command);
        let (assertion, place) = self.token(table, raw, keys, places, environment)?;
        let provider_arn = provider_arn?;
        let declaration = ["saml", &provider_arn.clone(), &place];
        let identity = Saml {
            provider_arn,
            assertion,
        };
        let source = CachedIdentity::new(&declaration, identity);
        Some(SourceSpec {
            source,
            kind: Kind::Saml,
        })
    }

    fn ecs_role(&mut self, table: &str, raw: &RawSource) -> Option<SourceSpec> {
        let before = self.errors.len();
        let role = raw.role_name.as_ref();
        let role = role.and_then(|it| self.value(it, table, "role_name", profile::role_name));
        let given = raw.metadata_endpoint.as_ref();
        let address = given.map_or(MetadataEndpoint::DEFAULT, |it| it.get_ref());
        let endpoint = MetadataEndpoint::new(address).map_err(|error| {
            let at = given.map_or(0, |it| it.span().start);
            let key = format!("{table}.metadata_endpoint");
            let hint = "leave it out on an instance; what is further away is a source of type uri";
            self.error_at(at, &key, &error.to_string(), hint);
        });
        let endpoint = endpoint.ok()?;
        if self.errors.len() > before {
            return None;
        }
        let allow_v1 = raw.allow_v1.as_ref().is_some_and(|it| *it.get_ref());
        let version = if allow_v1 { "v1" } else { "v2" };
        let which = role.as_deref().unwrap_or_default();
        let declaration = ["ecs-role", endpoint.as_str(), which, version].join("\0");
        let identity = EcsRole::new(endpoint, role, allow_v1);
        Some(SourceSpec {
            source: CachedIdentity::new(&[&declaration], identity),
            kind: Kind::Session,
        })
    }

    fn uri(&mut self, table: &str, raw: &RawSource) -> Option<SourceSpec> {
        let (key, at) = self.one_of(table, raw, &["uri", "uri_file"])?;
        let key = format!("{table}.{key}");
        let (identity, address, declaration) = if let Some(file) = &raw.uri_file {
            let path = self.beside(file.get_ref());
            let shown = path.display().to_string();
            let made = CredentialsUri::in_file(path).map_err(|error| {
                let problem = format!("{shown} {error}");
                self.error_at(at, &key, &problem, error.hint());
            });
            let (identity, address) = made.ok()?;
            (identity, address, ["uri file", &shown].join("\0"))
        } else {
            let text = raw.uri.as_ref()?.get_ref();
            let address = UriAddress::new(text).map_err(|error| {
                let hint = "https anywhere, http to 127.0.0.1 or another literal loopback address";
                self.error_at(at, &key, &format!("what is there {error}"), hint);
            });
            let address = address.ok()?;
            // It may hold a secret, and is kept for comparison only.
            let digest: String = Sha256::digest(text.as_bytes())
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let declaration = ["uri", &digest].join("\0");
            (CredentialsUri::new(address.clone()), address, declaration)
        };
        if self.http.is_some_and(|it| address.leads_to(it)) {
            let hint = "source = \"NAME\" of another profile chains roles, without a URI";
            let problem = "it leads back to this daemon, which listens there ([http])";
            self.error_at(at, &key, problem, hint);
            return None;
        }
        Some(SourceSpec {
            source: CachedIdentity::new(&[&declaration], identity),
            kind: Kind::Session,
        })
    }

    fn process(
        &mut self,
        table: &str,
        raw: &RawSource,
        environment: &ProcessEnvironment,
    ) -> Option<SourceSpec> {
        let (key, _) = self.one_of(table, raw, &["command"])?;
        let key = format!("{table}.{key}");
        let (program, place) = self.program(raw.command.as_ref()?, &key, environment)?;
        Some(SourceSpec {
            source: CachedIdentity::new(&["process", &place], Process { program }),
            kind: Kind::Session,
        })
    }

    fn provider(
        &mut self,
        table: &str,
        raw: &RawSource,
        sort: &str,
        environment: &ProcessEnvironment,
    ) -> Option<String> {
        let key = format!("{table}.provider_arn");
        let (given, at) = match &raw.provider_arn {
            Some(given) => (given.get_ref().clone(), given.span().start),
            None => {
                let at = raw.kind.span().start;
                let given = environment.text(PROVIDER_VARIABLE);
                match given.filter(|_| sort == "oidc-provider") {
                    Some(given) => (given, at),
                    None => {
                        let hint = "set it to acs:ram::<account number>:…, as the console shows it";
                        self.error_at(at, &key, "it is not said which provider", hint);
                        return None;
                    }
                }
            }
        };
        self.checked(profile::provider_arn(&given, sort), at, &key)
    }

    /// Reads where a token comes from, and returns it with what tells it from others.
    fn token(
        &mut self,
        table: &str,
        raw: &RawSource,
        keys: [&'static str; 2],
        (file, command): (&Text, &Words),
        environment: &ProcessEnvironment,
    ) -> Option<(TokenSource, String)> {
        let (key, at) = self.one_of(table, raw, &keys)?;
        let key = format!("{table}.{key}");
        if let Some(file) = file {
            return self.token_file(file.get_ref(), at, &key);
        }
        let (program, place) = self.program(command.as_ref()?, &key, environment)?;
        Some((TokenSource::Command(program), place))
    }

    fn token_file(&mut self, file: &str, at: usize, key: &str) -> Option<(TokenSource, String)> {
        let path = self.beside(file);
        if let Err(error) = std::fs::metadata(&path) {
            let problem = format!("{}: {error}", path.display());
            let hint = "name the file that is renewed by whoever issues the token";
            self.error_at(at, key, &problem, hint);
            return None;
        }
        let place = format!("file {}", path.display());
        Some((TokenSource::in_file(path), place))
    }

    pub(super) fn program(
        &mut self,
        raw: &Spanned<Vec<Spanned<String>>>,
        key: &str,
        environment: &ProcessEnvironment,
    ) -> Option<(IdentityCommand, String)> {
        const HINT: &str = "[\"/usr/local/bin/issue\", \"--flag\"]; no shell reads it";
        let before = self.errors.len();
        let words = self.command(raw, key, HINT);
        let place = format!("command {}", words.join("\0"));
        let usable = self.errors.len() == before;
        usable.then(|| (IdentityCommand::new(words, environment), place))
    }

    /// Returns the one key that is there, of those that exclude each other.
    fn one_of(
        &mut self,
        table: &str,
        raw: &RawSource,
        keys: &[&'static str],
    ) -> Option<(&'static str, usize)> {
        let there = raw.keys().into_iter();
        let there: Vec<_> = there.filter(|(key, _)| keys.contains(key)).collect();
        if let [one] = there[..] {
            return Some(one);
        }
        let at = there.get(1).map_or(raw.kind.span().start, |(_, at)| *at);
        let problem = format!("exactly one is needed of {}", keys.join(", "));
        let hint = "see docs/configuration.md for which suits where";
        self.error_at(at, table, &problem, hint);
        None
    }
}
