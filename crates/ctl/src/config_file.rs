//! stsd's configuration file. Every new content is checked by `stsd --check` before it is
//! written.

use std::{
    env,
    ffi::OsString,
    io::Write as _,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use stsd_model::fragment_directory;

use crate::{
    config_fragments,
    config_fragments::LinkedFragments,
    edit::{
        file,
        file::{EditableFile, Lock},
    },
    subprocess,
};

/// Placeholder for a key that only the daemon gets from systemd.
const PLACEHOLDER_KEY: &str = "access_key_id = \"LTAISTANDIN\"\naccess_key_secret = \"stand-in\"\n";

/// Placeholders for variables that only a pod has.
const PLACEHOLDER_ENVIRONMENT: [(&str, &str); 2] = [
    (
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
        "acs:ram::100000000000001:oidc-provider/stand-in",
    ),
    (
        "ALIBABA_CLOUD_ROLE_ARN",
        "acs:ram::100000000000001:role/stand-in",
    ),
];

/// The variable with the token's file, which only a pod has, and the name of the placeholder.
const TOKEN_VARIABLE: &str = "ALIBABA_CLOUD_OIDC_TOKEN_FILE";
const PLACEHOLDER_TOKEN: &str = ".token";

/// The variable with the STS endpoint, which a pod has.
const ENDPOINT_VARIABLE: &str = "ALIBABA_CLOUD_STS_ENDPOINT";

/// The configuration file, and its content when it was opened.
pub(crate) struct ConfigFile {
    path: PathBuf,
    file: EditableFile,
}

/// The way in which stsd is run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Checker {
    /// `--system`.
    pub(crate) is_system: bool,
    /// The user and the group of the process, if they are not the caller's.
    pub(crate) user: Option<(u32, u32)>,
}

/// What stsd has printed about a configuration that it accepts.
#[derive(Default)]
pub(crate) struct AcceptedConfig {
    pub(crate) output: String,
    /// One line each, with its hint.
    pub(crate) warnings: Vec<String>,
}

/// The result of `stsd --check` or `stsd --connect`.
pub(crate) enum CheckResult {
    Accepted(AcceptedConfig),
    Rejected(String),
    /// The check could not run, for this reason.
    NotChecked(String),
}

/// A directory with a placeholder for each secret that only the daemon gets.
struct Placeholders {
    directory: tempfile::TempDir,
    /// The configuration names credentials of systemd, which may be encrypted for the unit.
    has_credentials: bool,
}

impl ConfigFile {
    /// Opens the file that the daemon reads; the file may be missing.
    pub(crate) fn open() -> Result<Self> {
        let path = path()?;
        let file = EditableFile::open(&path)?;
        Ok(Self { path, file })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory to which its relative paths refer.
    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Locks the file against other runs of stsctl. A missing directory is created, and
    /// removed again if it stays empty.
    pub(crate) fn lock(&self) -> Result<Lock> {
        file::lock(&self.path)
    }

    /// Returns the content; `None` for a missing file.
    pub(crate) fn text(&self) -> Result<Option<&str>> {
        self.file.text()
    }

    /// Returns the content as TOML.
    pub(crate) fn table(&self) -> Result<toml::Table> {
        let text = self.text()?.unwrap_or_default();
        // The parser's own message would quote the text.
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |it| it.start);
            let line = 1 + text.bytes().take(at).filter(|it| *it == b'\n').count();
            let shown = self.path.display();
            anyhow!("{shown}:{line} is not TOML; `stsd --check` says more")
        })
    }

    /// Checks a new content. Files to which it refers by relative paths must exist.
    pub(crate) fn check(&self, text: &str) -> Result<CheckResult> {
        self.check_in(text, self.directory())
    }

    /// Checks a new content in another directory.
    pub(crate) fn check_in(&self, text: &str, directory: &Path) -> Result<CheckResult> {
        let mut tried = tempfile::Builder::new()
            .prefix(".tried-")
            .suffix(".toml")
            .tempfile_in(directory)
            .with_context(|| format!("{} cannot be written", self.path.display()))?;
        tried.write_all(text.as_bytes())?;
        let _fragments = LinkedFragments::create(&self.path, tried.path())?;
        let result = check_file(tried.path(), text, Checker::default())?;
        Ok(match result {
            CheckResult::Rejected(reason) => {
                CheckResult::Rejected(self.with_own_paths(&reason, tried.path()))
            }
            other => other,
        })
    }

    /// Checks a new content in a temporary directory with these private files, where the files `key`
    /// and `uri` stand for all other secrets.
    pub(crate) fn dry_run(&self, text: &str, files: &[(String, &str)]) -> Result<CheckResult> {
        let elsewhere = tempfile::tempdir()?;
        for (name, content) in files {
            private_file(elsewhere.path(), name, content)?;
        }
        private_file(elsewhere.path(), "key", PLACEHOLDER_KEY)?;
        private_file(elsewhere.path(), "uri", "https://localhost/")?;
        private_file(elsewhere.path(), "config.toml", text)?;
        let tried = elsewhere.path().join("config.toml");
        let _fragments = LinkedFragments::create(&self.path, &tried)?;
        let result = check_file(&tried, text, Checker::default())?;
        let CheckResult::Rejected(reason) = result else {
            return Ok(result);
        };
        let reason = self.with_own_paths(&reason, &tried);
        let there = elsewhere.path().display().to_string();
        let here = self.directory().display().to_string();
        Ok(CheckResult::Rejected(reason.replace(&there, &here)))
    }

    /// Returns a message about a file that was tried, with the paths of the configuration file and of
    /// its fragments.
    fn with_own_paths(&self, message: &str, tried: &Path) -> String {
        let message = message.replace(
            &tried.display().to_string(),
            &self.path.display().to_string(),
        );
        match (fragment_directory(tried), fragment_directory(&self.path)) {
            (Some(link), Some(own)) => {
                message.replace(&link.display().to_string(), &own.display().to_string())
            }
            _ => message,
        }
    }

    /// Replaces the content atomically.
    pub(crate) fn write(&self, text: &str) -> Result<()> {
        self.file.write(text)
    }

    /// Returns `true` if the group or others can read the file.
    pub(crate) fn is_readable_by_others(&self) -> bool {
        self.file.is_readable_by_others()
    }
}

impl Placeholders {
    fn create(table: &toml::Table, checker: Checker) -> Result<Self> {
        let sources = table.get("source").and_then(|it| it.as_table());
        let credentials = sources.into_iter().flatten().filter_map(|(_, source)| {
            let name = source.get("access_key_credential")?.as_str()?;
            (!name.contains('/') && !name.starts_with('.')).then_some(name)
        });
        let credentials: Vec<_> = credentials.collect();
        let directory = tempfile::tempdir()?;
        let mut paths = vec![directory.path().to_owned()];
        for name in credentials.iter().copied().chain([PLACEHOLDER_TOKEN]) {
            private_file(directory.path(), name, PLACEHOLDER_KEY)?;
            paths.push(directory.path().join(name));
        }
        if let Some((uid, gid)) = checker.user {
            for path in paths {
                chown(path, Some(uid), Some(gid))?;
            }
        }
        Ok(Self {
            directory,
            has_credentials: !credentials.is_empty(),
        })
    }
}

/// Checks a file with this content. Placeholders stand for what only the daemon gets from
/// systemd or from its environment.
pub(crate) fn check_file(path: &Path, text: &str, checker: Checker) -> Result<CheckResult> {
    run_stsd("--check", path, text, checker, None)
}

/// Makes stsd connect to the STS endpoint of a file with this content; `endpoint` is the one of the
/// daemon's environment.
pub(crate) fn connect_to_sts(
    path: &Path,
    text: &str,
    checker: Checker,
    endpoint: Option<&str>,
) -> Result<CheckResult> {
    run_stsd("--connect", path, text, checker, endpoint)
}

fn run_stsd(
    what: &str,
    path: &Path,
    text: &str,
    checker: Checker,
    endpoint: Option<&str>,
) -> Result<CheckResult> {
    let Some(stsd) = subprocess::find("stsd") else {
        let reason = "stsd is neither beside stsctl nor in PATH";
        return Ok(CheckResult::NotChecked(reason.to_owned()));
    };
    let mut command = Command::new(stsd);
    command.arg(what).env("STSD_CONFIG", path);
    if checker.is_system {
        command.arg("--system");
    }
    let table = config_fragments::tables(path, text);
    let placeholders = Placeholders::create(&table, checker)?;
    if placeholders.has_credentials {
        command.env("CREDENTIALS_DIRECTORY", placeholders.directory.path());
    }
    if let Some((uid, gid)) = checker.user {
        command.uid(uid).gid(gid);
    }
    // The daemon's environment may have variables that this one lacks.
    let token = placeholders.directory.path().join(PLACEHOLDER_TOKEN);
    let token = (TOKEN_VARIABLE, token.into_os_string());
    let texts = PLACEHOLDER_ENVIRONMENT.map(|(name, text)| (name, text.into()));
    for (name, placeholder) in texts.into_iter().chain([token]) {
        if env::var_os(name).is_none_or(|it| it.is_empty()) {
            command.env(name, placeholder);
        }
    }
    if let Some(endpoint) = endpoint {
        command.env(ENDPOINT_VARIABLE, endpoint);
    }
    for name in key_variables(&table) {
        if env::var_os(&name).is_none() {
            command.env(name, "LTAISTANDIN");
        }
    }
    let output = match subprocess::run(command, None) {
        Ok(output) => output,
        Err(error) => return Ok(CheckResult::NotChecked(format!("{error:#}"))),
    };
    if output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        let warnings = messages
            .lines()
            .filter_map(|it| it.strip_prefix("warning: "));
        return Ok(CheckResult::Accepted(AcceptedConfig {
            warnings: warnings.map(ToOwned::to_owned).collect(),
            output: String::from_utf8_lossy(&output.stdout)
                .trim_end()
                .to_owned(),
        }));
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    let reason = reason.trim_end().trim_start_matches("stsd: ").to_owned();
    Ok(CheckResult::Rejected(reason))
}

/// Returns the path of the configuration, as the daemon resolves it.
pub(crate) fn path() -> Result<PathBuf> {
    let variable = |name| env::var_os(name).filter(|it: &OsString| !it.is_empty());
    let path = if let Some(path) = variable("STSD_CONFIG") {
        PathBuf::from(path)
    } else if let Some(base) = variable("XDG_CONFIG_HOME") {
        PathBuf::from(base).join("stsd/config.toml")
    } else {
        let home = variable("HOME").context(
            "neither STSD_CONFIG nor HOME is set, so there is no place for a configuration",
        )?;
        PathBuf::from(home).join(".config/stsd/config.toml")
    };
    let path = std::path::absolute(path)?;
    ensure!(path.parent().is_some(), "/ is no configuration");
    Ok(path)
}

/// Returns the variables from which the daemon reads an AccessKey.
fn key_variables(table: &toml::Table) -> Vec<String> {
    let sources = table.get("source").and_then(|it| it.as_table());
    let named = sources.into_iter().flatten().filter_map(|(_, source)| {
        let names = source.get("access_key_env")?.as_table()?;
        Some(names.values().filter_map(|it| it.as_str()))
    });
    // The daemon reports invalid names.
    let is_name = |it: &&str| !it.is_empty() && !it.contains(['=', '\0']);
    named.flatten().filter(is_name).map(str::to_owned).collect()
}

fn private_file(directory: &Path, name: &str, text: &str) -> Result<()> {
    let file = tempfile::Builder::new().tempfile_in(directory)?;
    file.as_file().write_all(text.as_bytes())?;
    file.persist(directory.join(name))?;
    Ok(())
}
