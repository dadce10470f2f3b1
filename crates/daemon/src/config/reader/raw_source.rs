//! The keys of a `[source.NAME]` table, and those of each type.

use serde::Deserialize;

use super::{command, spanned::Spanned};

pub(super) type Text = Option<Spanned<String>>;
pub(super) type Words = Option<command::Words>;

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    /// The type of the identity, on which the other keys depend.
    #[serde(rename = "type")]
    #[cfg_attr(test, schemars(required))]
    pub kind: Text,
    /// A file with the key. Mode 0600 or stricter, owned by root or by the daemon's user, in
    /// [directories that no other user can write to](configuration.md#trust-in-files).
    pub access_key_file: Text,
    /// The name of a credential with the key, which systemd gives the service with
    /// `LoadCredential=` or `LoadCredentialEncrypted=`: `$CREDENTIALS_DIRECTORY/NAME`.
    pub access_key_credential: Text,
    /// The key in the keyring of the user's session: the item with the attributes
    /// `application=stsd` and `key=NAME`.
    pub access_key_keyring: Text,
    /// Two variables of the daemon's own environment with the key. For a secret that comes in no
    /// other way: an environment is easily seen and inherited.
    pub access_key_env: Option<Spanned<RawVariables>>,
    /// The provider in RAM: `acs:ram::<account>:oidc-provider/<name>`, or `saml-provider` for an
    /// assertion.
    pub provider_arn: Text,
    /// A file with a JSON web token, and white space around it at most. Mode and owner are those of a
    /// key file, except for a [token that Kubernetes projects](configuration.md#trust-in-files).
    pub token_file: Text,
    /// In place of `token_file`: a program that prints the token, by its full path, and its
    /// arguments, under the terms of [`process`](configuration.md#process-the-output-of-a-program).
    pub token_command: Words,
    /// A file with the assertion that the provider posts as `SAMLResponse`, base64 in one line. Mode
    /// and owner are those of a key file.
    pub assertion_file: Text,
    /// In place of `assertion_file`: a program that prints the assertion, by its full path, and its
    /// arguments, under the terms of [`process`](configuration.md#process-the-output-of-a-program).
    pub assertion_command: Words,
    /// The RAM role that is attached to the instance.
    pub role_name: Text,
    /// Ask without a token if the service has none (version 1). A program of this machine that
    /// follows one foreign URL then gives the credentials away.
    pub allow_v1: Option<Spanned<bool>>,
    /// The metadata service: `http://ADDRESS[:PORT]`, with a literal address that is loopback,
    /// link-local or 100.100.100.200. The service supplies the identity without TLS, and therefore
    /// must be on this machine or its host.
    pub metadata_endpoint: Text,
    /// A credentials URI: `https://…`, or `http://` to a literal loopback address. Without a user,
    /// a password or a fragment.
    pub uri: Text,
    /// A file with a credentials URI that holds a secret, such as the URLs of `stsctl url`. Mode
    /// 0600, as for a key file; the daemon reads the file each time.
    pub uri_file: Text,
    /// A program by its full path, and its arguments one by one; no shell reads it. It prints one
    /// [document](configuration.md#process-the-output-of-a-program).
    pub command: Words,
    /// Files and directories that the program may
    /// [write to](configuration.md#programs-where-they-may-write).
    pub writable: Words,
    /// Names of further variables of the daemon's environment that the program
    /// [receives](configuration.md#programs-where-they-may-write).
    pub environment: Words,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawVariables {
    /// The name of the variable with the AccessKey's id.
    #[cfg_attr(test, schemars(required))]
    pub id: Text,
    /// The name of the variable with its secret.
    #[cfg_attr(test, schemars(required))]
    pub secret: Text,
}

/// The keys for the secret store of an AccessKey.
pub(super) const KEY_LOCATIONS: [&str; 4] = [
    "access_key_file",
    "access_key_credential",
    "access_key_keyring",
    "access_key_env",
];

/// The types, with the keys of each besides `type`.
pub(super) const KINDS: [(&str, &[&str]); 6] = [
    ("access-key", &KEY_LOCATIONS),
    (
        "oidc",
        &[
            "provider_arn",
            "token_file",
            "token_command",
            "writable",
            "environment",
        ],
    ),
    (
        "saml",
        &[
            "provider_arn",
            "assertion_file",
            "assertion_command",
            "writable",
            "environment",
        ],
    ),
    ("ecs-role", &["role_name", "allow_v1", "metadata_endpoint"]),
    ("uri", &["uri", "uri_file"]),
    ("process", &["command", "writable", "environment"]),
];

impl RawSource {
    /// Returns the keys of the table, and their positions.
    pub(super) fn keys(&self) -> Vec<(&'static str, usize)> {
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
            ("writable", at(&self.writable)),
            ("environment", at(&self.environment)),
        ];
        let present = keys.into_iter();
        present.filter_map(|(key, at)| Some((key, at?))).collect()
    }
}
