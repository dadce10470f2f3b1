//! The environment variables that give a program a profile's credentials, and those that must be
//! cleared: one table for `exec` and `env`.

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};
use stsd_client::{Answer, Client, Credentials, Url};

use crate::token_file;

/// The address of the URLs, which must bypass a proxy.
const LOOPBACK: &[u8] = b"127.0.0.1";

/// The profile that a program gets, and how.
pub(crate) struct Request<'a> {
    pub(crate) profile: &'a str,
    pub(crate) delivery: Delivery,
    pub(crate) minimum_lifetime: Duration,
    pub(crate) patience: Duration,
}

/// The form in which the environment holds the credentials.
#[derive(Clone, Copy)]
pub(crate) enum Delivery {
    /// A URL, at which the program gets renewed credentials.
    Url,
    /// The temporary keys, which expire with the session.
    StaticKeys,
}

/// The edit of one variable.
pub(crate) enum EnvEdit {
    Set(OsString),
    Unset,
}

/// The edited variables; all others stay.
pub(crate) type EnvEdits = Vec<(&'static str, EnvEdit)>;

/// The rule for a variable.
#[derive(Clone, Copy)]
enum EnvRule {
    Unset,
    Untouched,
    Fixed(&'static str),
    Profile,
    /// The socket of `--socket`; untouched without that option.
    Socket,
    Url,
    TokenFile,
    NoProxy,
    KeyId,
    Secret,
    Token,
}

use EnvRule::{
    Fixed, KeyId, NoProxy, Profile, Secret, Socket, Token, TokenFile, Unset, Untouched,
    Url as ByUrl,
};

/// A variable, its rule for a URL, and its rule for static keys. The names are from the source
/// code of the SDKs and tools that read them.
const VARIABLES: &[(&str, EnvRule, EnvRule)] = &[
    // For sts-shim: it then uses the same profile.
    ("STSD_PROFILE", Profile, Profile),
    ("STSD_SOCKET", Socket, Socket),
    // The Alibaba Cloud SDKs try a URL last, so everything before it has to be cleared.
    ("ALIBABA_CLOUD_CREDENTIALS_URI", ByUrl, Unset),
    (
        "ALIBABA_CLOUD_CLI_PROFILE_DISABLED",
        Fixed("true"),
        Untouched,
    ),
    (
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED",
        Fixed("true"),
        Untouched,
    ),
    ("ALIBABA_CLOUD_CREDENTIALS_FILE", Fixed("/dev/null"), Unset),
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", Unset, KeyId),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", Unset, Secret),
    ("ALIBABA_CLOUD_SECURITY_TOKEN", Unset, Token),
    ("ALIBABA_CLOUD_ROLE_ARN", Unset, Unset),
    ("ALIBABA_CLOUD_ROLE_SESSION_NAME", Unset, Unset),
    ("ALIBABA_CLOUD_EXTERNAL_ID", Unset, Unset),
    ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", Unset, Unset),
    ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", Unset, Unset),
    ("ALIBABA_CLOUD_ECS_METADATA", Unset, Unset),
    ("ALIBABA_CLOUD_PROFILE", Unset, Unset),
    // aliyun-cli reads no URL from the environment. Without credentials it fails, instead of
    // using the identity of its own configuration.
    ("ALIBABA_CLOUD_IGNORE_PROFILE", Fixed("TRUE"), Fixed("TRUE")),
    ("ALIBABACLOUD_IGNORE_PROFILE", Fixed("TRUE"), Fixed("TRUE")),
    // aliyun-cli, Terraform and the tools of ACK.
    ("ALIBABACLOUD_ACCESS_KEY_ID", Unset, KeyId),
    ("ALIBABACLOUD_ACCESS_KEY_SECRET", Unset, Secret),
    ("ALIBABACLOUD_SECURITY_TOKEN", Unset, Token),
    ("ALIBABACLOUD_ROLE_ARN", Unset, Unset),
    ("ALIBABACLOUD_EXTERNAL_ID", Unset, Unset),
    ("ALIBABACLOUD_OIDC_PROVIDER_ARN", Unset, Unset),
    ("ALIBABACLOUD_OIDC_TOKEN_FILE", Unset, Unset),
    ("ALIBABACLOUD_PROFILE", Unset, Unset),
    ("ACCESS_KEY_ID", Unset, Unset),
    ("ACCESS_KEY_SECRET", Unset, Unset),
    ("SECURITY_TOKEN", Unset, Unset),
    // Terraform's older names, which it reads first.
    ("ALICLOUD_CREDENTIALS_URI", ByUrl, Unset),
    ("ALICLOUD_ACCESS_KEY", Unset, KeyId),
    ("ALICLOUD_SECRET_KEY", Unset, Secret),
    ("ALICLOUD_SECURITY_TOKEN", Unset, Token),
    ("ALICLOUD_ACCESS_KEY_ID", Unset, KeyId),
    ("ALICLOUD_ACCESS_KEY_SECRET", Unset, Secret),
    ("ALICLOUD_ECS_ROLE_NAME", Unset, Unset),
    ("ALICLOUD_PROFILE", Unset, Unset),
    ("ALICLOUD_SHARED_CREDENTIALS_FILE", Unset, Unset),
    // The OSS SDKs, ossutil 2 and ossfs.
    ("OSS_ACCESS_KEY_ID", Unset, KeyId),
    ("OSS_ACCESS_KEY_SECRET", Unset, Secret),
    ("OSS_SESSION_TOKEN", Unset, Token),
    ("OSSACCESSKEYID", Unset, KeyId),
    ("OSSSECRETACCESSKEY", Unset, Secret),
    ("OSSSESSIONTOKEN", Unset, Token),
    ("OSS_CREDENTIAL_FILE", Unset, Unset),
    // aliyun-log-cli.
    ("ALIYUN_LOG_CLI_ACCESSID", Unset, KeyId),
    ("ALIYUN_LOG_CLI_ACCESSKEY", Unset, Secret),
    ("ALIYUN_LOG_CLI_STS_TOKEN", Unset, Token),
    // The oldest Python SDK reads no token, without which these keys are invalid.
    ("ALIYUN_ACCESS_KEY_ID", Unset, Unset),
    ("ALIYUN_ACCESS_KEY_SECRET", Unset, Unset),
    // The AWS SDKs and the data tools on them, for OSS's S3 dialect.
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", ByUrl, Unset),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", Unset, Unset),
    // The URL has the secret already, but object_store uses no URL without a token file.
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", TokenFile, Unset),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN", Unset, Unset),
    ("AWS_EC2_METADATA_DISABLED", Fixed("true"), Untouched),
    // Keys in it come before the URL. Regions and endpoints are in the other file.
    ("AWS_SHARED_CREDENTIALS_FILE", Fixed("/dev/null"), Untouched),
    ("AWS_ACCESS_KEY_ID", Unset, KeyId),
    ("AWS_SECRET_ACCESS_KEY", Unset, Secret),
    ("AWS_SESSION_TOKEN", Unset, Token),
    // Older names for the same, some of which come first.
    ("AWS_ACCESS_KEY", Unset, Unset),
    ("AWS_SECRET_KEY", Unset, Unset),
    ("AWS_SECURITY_TOKEN", Unset, Unset),
    // With this variable, botocore rereads the environment ten minutes before the expiration.
    ("AWS_CREDENTIAL_EXPIRATION", Unset, Unset),
    ("AWS_PROFILE", Unset, Unset),
    ("AWS_DEFAULT_PROFILE", Unset, Unset),
    ("AWS_ROLE_ARN", Unset, Unset),
    ("AWS_ROLE_SESSION_NAME", Unset, Unset),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", Unset, Unset),
    ("NO_PROXY", NoProxy, Untouched),
    ("no_proxy", NoProxy, Untouched),
];

/// The credentials that become values.
enum CredentialValues {
    Url {
        url: Url,
        token_file: Option<PathBuf>,
    },
    Keys(Credentials),
}

/// Fetches a profile's URL or keys, and returns the edits of the environment. Credentials are
/// fetched in either case, so that a failure is reported before the program starts.
pub(crate) fn edits(
    client: &Client,
    socket: Option<&Path>,
    request: &Request<'_>,
) -> Result<EnvEdits> {
    let ask = || client.credentials(request.profile, request.minimum_lifetime, request.patience);
    let source = match request.delivery {
        Delivery::StaticKeys => {
            let answer = ask()?;
            warn_if_short(&answer);
            CredentialValues::Keys(answer.credentials)
        }
        Delivery::Url => {
            // The first request waits for a daemon that is away, with the caller's patience.
            warn_if_short(&ask()?);
            let url = client.url(request.profile)?;
            let token_file = token_file::find(client.socket(), &url, request.profile);
            CredentialValues::Url { url, token_file }
        }
    };
    let socket = socket.map(std::path::absolute).transpose();
    let socket = socket.context("the socket's path")?;
    let row = |&(name, by_url, by_keys): &(&'static str, EnvRule, EnvRule)| {
        let rule = match source {
            CredentialValues::Url { .. } => by_url,
            CredentialValues::Keys(_) => by_keys,
        };
        let edit = match rule {
            Untouched => return None,
            Socket => EnvEdit::Set(socket.as_ref()?.into()),
            Profile => EnvEdit::Set(request.profile.into()),
            Fixed(value) => EnvEdit::Set(value.into()),
            NoProxy => EnvEdit::Set(no_proxy_list(name, |name| env::var_os(name))),
            other => source.value(other).map_or(EnvEdit::Unset, EnvEdit::Set),
        };
        Some((name, edit))
    };
    Ok(VARIABLES.iter().filter_map(row).collect())
}

/// Warns of a session that is shorter than requested; the program is started nevertheless.
fn warn_if_short(answer: &Answer) {
    if !answer.short {
        return;
    }
    let ends = answer.credentials.expiration_unix_seconds;
    let left = ends.saturating_sub(clock_gettime(ClockId::Realtime).tv_sec);
    let left = left.max(0);
    let _ = writeln!(
        io::stderr(),
        "stsctl: the keys live for only {left} s, less than was asked"
    );
}

/// Returns the variables that would give a program another identity than the URL.
pub(crate) fn identity_variables() -> impl Iterator<Item = &'static str> {
    // A profile's name only selects an entry of a file.
    let chooses = |name: &str| name.ends_with("PROFILE") || name.ends_with("_FILE");
    let rows = VARIABLES.iter().filter(|row| matches!(row.1, Unset));
    rows.map(|row| row.0).filter(move |name| {
        !chooses(name) || name.ends_with("OIDC_TOKEN_FILE") || name.ends_with("IDENTITY_TOKEN_FILE")
    })
}

impl CredentialValues {
    fn value(&self, what: EnvRule) -> Option<OsString> {
        match (self, what) {
            (Self::Url { url, .. }, ByUrl) => Some(url.url.expose().into()),
            (Self::Url { token_file, .. }, TokenFile) => token_file.clone().map(Into::into),
            (Self::Keys(it), KeyId) => Some(it.access_key_id.clone().into()),
            (Self::Keys(it), Secret) => Some(it.access_key_secret.expose().into()),
            (Self::Keys(it), Token) => Some(it.security_token.expose().into()),
            _ => None,
        }
    }
}

/// Returns the list of hosts without a proxy, with loopback added. The variable has two
/// spellings; if only the other one is set, its value is used.
fn no_proxy_list(name: &str, variable: impl Fn(&str) -> Option<OsString>) -> OsString {
    let there = |name: &str| variable(name).filter(|it| !it.is_empty());
    let other = if name == "NO_PROXY" {
        "no_proxy"
    } else {
        "NO_PROXY"
    };
    let mut list = there(name)
        .or_else(|| there(other))
        .unwrap_or_default()
        .into_vec();
    let has = |it: &[u8]| it == LOOPBACK || it == b"*";
    if !list.split(|it| *it == b',').any(|it| has(it.trim_ascii())) {
        if !list.is_empty() {
            list.push(b',');
        }
        list.extend_from_slice(LOOPBACK);
    }
    OsString::from_vec(list)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{VARIABLES, no_proxy_list};

    #[test]
    fn environment_variables_are_listed_once() {
        let names: BTreeSet<_> = VARIABLES.iter().map(|row| row.0).collect();
        assert_eq!(names.len(), VARIABLES.len());
    }

    #[test]
    fn loopback_is_added_once_to_each_no_proxy_spelling() {
        let check = |upper: Option<&str>, lower: Option<&str>, expected: (&str, &str)| {
            let variable = |name: &str| {
                let value = if name == "NO_PROXY" { upper } else { lower };
                value.map(Into::into)
            };
            assert_eq!(no_proxy_list("NO_PROXY", variable), expected.0);
            assert_eq!(no_proxy_list("no_proxy", variable), expected.1);
        };
        check(None, None, ("127.0.0.1", "127.0.0.1"));
        check(Some("a"), None, ("a,127.0.0.1", "a,127.0.0.1"));
        check(Some(""), Some("b"), ("b,127.0.0.1", "b,127.0.0.1"));
        check(Some("a"), Some("b"), ("a,127.0.0.1", "b,127.0.0.1"));
        check(Some("a, 127.0.0.1 ,b"), Some("*"), ("a, 127.0.0.1 ,b", "*"));
        check(
            Some("127.0.0.10"),
            None,
            ("127.0.0.10,127.0.0.1", "127.0.0.10,127.0.0.1"),
        );
    }
}
