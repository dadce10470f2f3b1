//! A tool, the delivery of credentials to it, and the request that `stsctl setup` handles.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use stsd_client::{Client, SecretText};
use stsd_model::ProfileName;

use super::{document::DocumentRequirements, env_overrides::EnvOverride};
use crate::{
    cli::Setup, edit::file::Access, error::UsageError, report::Finding, subprocess,
    tool_name::ToolName,
};

/// A tool that consumes credentials.
pub(super) struct Tool {
    pub(super) name: ToolName,
    /// The description for the list.
    pub(super) about: &'static str,
    pub(super) delivery: Delivery,
    pub(super) snippet: fn(&SetupRequest) -> Result<String>,
    /// The place for the snippet, as a sentence.
    pub(super) note: &'static str,
    pub(super) needs: DocumentRequirements,
    pub(super) overrides: &'static [EnvOverride],
}

/// The way in which a tool gets credentials.
pub(super) enum Delivery {
    /// By an entry of its own file.
    File(ToolConfigFile),
    /// By an entry of another tool's file.
    OtherToolsFile(ToolConfigFile),
    /// By the shim's command line in the tool's options.
    Shim,
    /// By the URL in its environment, which `stsctl exec` sets.
    Url,
    /// By the URL, together with a file that holds the secret.
    UrlAndTokenFile,
    /// By temporary keys in its environment.
    StaticKeys,
}

/// The configuration file of a tool.
pub(super) struct ToolConfigFile {
    pub(super) path: fn() -> Result<PathBuf>,
    /// Returns the text with the entry added or changed.
    pub(super) edit: fn(Option<&str>, &SetupRequest) -> Result<String>,
    /// Returns the command or the URL of the entry.
    pub(super) find: fn(&str, &SetupRequest) -> Result<CredentialRef>,
    /// Returns the warnings about a text in which [`find`](Self::find) has found the entry.
    pub(super) warnings: fn(&str, &SetupRequest) -> Vec<Finding>,
    /// [`Access::OwnerOnly`] if the entry holds a secret.
    pub(super) access: Access,
}

impl ToolConfigFile {
    /// The [`warnings`](Self::warnings) of a tool without any.
    pub(super) const NO_WARNINGS: fn(&str, &SetupRequest) -> Vec<Finding> = |_, _| Vec::new();
}

/// The command or the URL in an entry.
pub(super) enum CredentialRef {
    Command(String),
    Url(String),
}

/// The options of the command, with defaults from the environment.
pub(super) struct SetupRequest {
    pub(super) profile: String,
    /// The name of the profile in the tool.
    pub(super) name: String,
    pub(super) region: Option<String>,
    /// The shim's command line.
    pub(super) command: String,
    /// `Some` only if the tool's file holds the URL.
    pub(super) url: Option<SecretText>,
}

impl SetupRequest {
    pub(super) fn of(client: &Client, typed: &Setup) -> Result<Self> {
        let profile = typed.profile.clone().unwrap_or_default();
        let name = typed.name.clone().unwrap_or_else(|| profile.clone());
        // A valid name needs no quotes in any tool's file.
        for (what, text) in [("a profile", &profile), ("a tool's name for it", &name)] {
            if !ProfileName::is_valid(text) {
                bail!(UsageError(format!("{what} is {}", ProfileName::SYNTAX)));
            }
        }
        if let Some(region) = &typed.region
            && (!region
                .bytes()
                .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
                || region.is_empty()
                || region.starts_with("oss-"))
        {
            bail!(UsageError("a region is such as cn-hangzhou".to_owned()));
        }
        let shim = match &typed.shim {
            Some(shim) => shim.clone(),
            None => find_shim()?,
        };
        let mut command = shell_safe(&shim)?.to_owned();
        if !is_found_without_variables(client) {
            let socket = std::path::absolute(client.socket())?;
            command = format!("{command} --socket {}", shell_safe(&socket)?);
        }
        Ok(Self {
            command: format!("{command} {profile}"),
            profile,
            name,
            region: typed.region.clone(),
            url: None,
        })
    }

    /// Returns the region, which this tool requires.
    pub(super) fn region(&self) -> Result<&str> {
        let missing = || {
            UsageError(
                "--region is missing: the region of the buckets, such as cn-hangzhou".to_owned(),
            )
        };
        Ok(self.region.as_deref().ok_or_else(missing)?)
    }
}

/// Returns the environment of a job that has no session, as cron starts it.
pub(super) fn bare_environment() -> Vec<(&'static str, OsString)> {
    let mut variables = vec![("PATH", "/usr/bin:/bin".into())];
    variables.extend(env::var_os("HOME").map(|home| ("HOME", home)));
    variables
}

/// Returns `true` if a tool in a bare environment finds the client's daemon.
fn is_found_without_variables(client: &Client) -> bool {
    let variables = bare_environment();
    let variable = |name: &str| {
        let mut named = variables.iter().filter(|it| it.0 == name);
        named.next().map(|it| it.1.clone())
    };
    Client::from_variables(variable).socket() == client.socket()
}

/// Returns a path that needs no quotes: some tools split a command at white space, some pass it
/// to a shell, some reject a `$`.
pub(super) fn shell_safe(path: &Path) -> Result<&str> {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"/._-+@".contains(&it);
    let text = path
        .to_str()
        .filter(|it| it.bytes().all(plain) && it.starts_with('/'));
    let shown = path.display();
    let refusal = || {
        UsageError(format!(
            "{shown} cannot stand in a command line without quotes, which half of the tools do \
             not understand: an absolute path of A-Z a-z 0-9 / . _ - + @ is needed"
        ))
    };
    Ok(text.ok_or_else(refusal)?)
}

/// Returns the path of sts-shim: beside stsctl, otherwise in `PATH`.
fn find_shim() -> Result<PathBuf> {
    subprocess::find("sts-shim")
        .context("sts-shim is neither beside stsctl nor in PATH; name it with --shim")
}

/// Returns a path below the user's home directory.
pub(super) fn home_path(rest: &str) -> Result<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let home = home.filter(|it| it.is_absolute());
    Ok(home
        .context("HOME is not set, so there is no file")?
        .join(rest))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::shell_safe;

    #[test]
    fn path_that_needs_quotes_is_rejected_in_a_command_line() {
        assert!(shell_safe(Path::new("/usr/local/bin/sts-shim")).is_ok());
        for path in [
            "sts-shim", "/a b/c", "/$a", "/a'b", "/a;b", "/~", "/a*", "/é", "",
        ] {
            assert!(shell_safe(Path::new(path)).is_err(), "{path}");
        }
    }
}
