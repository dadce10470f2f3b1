//! A tool, the delivery of credentials to it, and the request that `stsctl setup` handles.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::geteuid;
use stsd_client::SecretText;

use super::{document::DocumentRequirements, env_overrides::EnvOverride};
use crate::{cli::Setup, edit::file::Access, error::UsageError, subprocess, tool_name::ToolName};

/// A consumer of credentials.
pub(super) struct Tool {
    pub(super) name: ToolName,
    /// What it is, for the list.
    pub(super) about: &'static str,
    pub(super) delivery: Delivery,
    pub(super) snippet: fn(&SetupRequest) -> Result<String>,
    /// Where the snippet goes, in a sentence.
    pub(super) note: &'static str,
    pub(super) needs: DocumentRequirements,
    pub(super) overrides: &'static [EnvOverride],
}

/// How credentials come to a tool.
pub(super) enum Delivery {
    /// By what an entry of its file names.
    File(ToolConfigFile),
    /// By what an entry of another tool's file names.
    OtherToolsFile(ToolConfigFile),
    /// By the shim's command line, which is pasted somewhere.
    Shim,
    /// By the URL in its environment, where `exec` has put it.
    Url,
    /// The same, but it looks at no URL without the secret in a file.
    UrlAndTokenFile,
    /// By keys in its environment.
    StaticKeys,
}

/// A tool's own file.
pub(super) struct ToolConfigFile {
    pub(super) path: fn() -> Result<PathBuf>,
    /// Returns its text with our entry, of what is there.
    pub(super) edit: fn(Option<&str>, &SetupRequest) -> Result<String>,
    /// Returns what our entry names.
    pub(super) find: fn(&str, &SetupRequest) -> Result<CredentialRef>,
    /// It holds a secret by our entry.
    pub(super) access: Access,
}

/// What an entry names.
pub(super) enum CredentialRef {
    Command(String),
    Url(String),
}

/// What was typed, and what the machine adds.
pub(super) struct SetupRequest {
    pub(super) profile: String,
    /// What the tool calls it.
    pub(super) name: String,
    pub(super) region: Option<String>,
    /// The shim's command line.
    pub(super) command: String,
    /// Only where the tool's file has to hold it.
    pub(super) url: Option<SecretText>,
}

impl SetupRequest {
    pub(super) fn of(socket: Option<&Path>, typed: &Setup) -> Result<Self> {
        let profile = typed.profile.clone().unwrap_or_default();
        let name = typed.name.clone().unwrap_or_else(|| profile.clone());
        for (what, text) in [("a profile", &profile), ("a tool's name for it", &name)] {
            if !is_name(text) {
                bail!(UsageError(format!(
                    "{what} is 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit"
                )));
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
        if let Some(socket) = socket.map(Path::to_owned).or_else(environment_socket) {
            let socket = std::path::absolute(socket)?;
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

    /// Returns the region, which this tool cannot do without.
    pub(super) fn region(&self) -> Result<&str> {
        let missing = || UsageError("say where the buckets are: --region cn-hangzhou".to_owned());
        Ok(self.region.as_deref().ok_or_else(missing)?)
    }
}

/// Returns the socket that only this environment knows of: a tool that is started elsewhere
/// would not find it.
fn environment_socket() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).filter(|it| !it.is_empty());
    if let Some(path) = variable("STSD_SOCKET") {
        return Some(path.into());
    }
    let runtime = PathBuf::from(variable("XDG_RUNTIME_DIR")?);
    let usual = format!("/run/user/{}", geteuid().as_raw());
    let socket = runtime.join("stsd/stsd.sock");
    Some(socket).filter(|it| runtime != Path::new(&usual) && it.exists())
}

/// What the daemon takes for a profile's name, and no file's syntax minds.
pub(super) fn is_name(text: &str) -> bool {
    let inner = |it: u8| it.is_ascii_alphanumeric() || b"._-".contains(&it);
    let begins = text
        .bytes()
        .next()
        .is_some_and(|it| it.is_ascii_alphanumeric());
    begins && text.len() <= 64 && text.bytes().all(inner)
}

/// Some tools split a command at white space, some give it to a shell, some refuse a `$`: a
/// path in it has to be the same to all of them.
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

/// Finds the shim beside this program, else where a shell would.
fn find_shim() -> Result<PathBuf> {
    subprocess::find("sts-shim")
        .context("sts-shim is neither beside stsctl nor in PATH; name it with --shim")
}

/// Returns a path below the user's home.
pub(super) fn home_path(rest: &str) -> Result<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let home = home.filter(|it| it.is_absolute());
    Ok(home
        .context("HOME says nothing, so there is no file")?
        .join(rest))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{is_name, shell_safe};

    #[test]
    fn what_needs_quotes_does_not_get_into_a_command_line() {
        assert!(shell_safe(Path::new("/usr/local/bin/sts-shim")).is_ok());
        for path in [
            "sts-shim", "/a b/c", "/$a", "/a'b", "/a;b", "/~", "/a*", "/é", "",
        ] {
            assert!(shell_safe(Path::new(path)).is_err(), "{path}");
        }
        for name in ["", "-a", "a b", "a]", "a\n", "../a", &"a".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_name("oss-upload.2"));
    }
}
