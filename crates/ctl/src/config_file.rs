//! Decides where our own configuration is, and that no command makes it one that the daemon
//! refuses: what shall be written is shown to `stsd --check` before it stands there.

use std::{
    env,
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::{
    edit::{
        file,
        file::{Lock, Place},
    },
    subprocess,
};

/// What stands for a key that systemd gives to the daemon alone, while it is checked.
const STAND_IN: &str = "access_key_id = \"LTAISTANDIN\"\naccess_key_secret = \"stand-in\"\n";

/// What stands for what a pod has in its environment, while it is checked.
const ENVIRONMENT: [(&str, &str); 3] = [
    (
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
        "acs:ram::100000000000001:oidc-provider/stand-in",
    ),
    ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/dev/null"),
    (
        "ALIBABA_CLOUD_ROLE_ARN",
        "acs:ram::100000000000001:role/stand-in",
    ),
];

/// Our configuration.
pub(crate) struct Configuration {
    path: PathBuf,
    place: Place,
}

/// What the daemon says to a text.
pub(crate) enum Judgement {
    Good,
    Refused(String),
    /// It could not be asked, for this reason.
    Unknown(String),
}

impl Configuration {
    /// Finds it where the daemon does; it need not be there.
    pub(crate) fn find() -> Result<Self> {
        let path = path()?;
        let place = Place::look(&path)?;
        Ok(Self { path, place })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory beside which its files are named.
    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Keeps other runs of this program from it; its directory is made, and
    /// goes again if nothing comes into it.
    pub(crate) fn lock(&self) -> Result<Lock> {
        file::lock(&self.path)
    }

    /// Returns what is there.
    pub(crate) fn text(&self) -> Result<Option<&str>> {
        self.place.text()
    }

    /// Returns what is there as TOML.
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

    /// Asks the daemon's program what it says to a text that would stand here. Files that it
    /// names beside itself have to be there.
    pub(crate) fn judge(&self, text: &str) -> Result<Judgement> {
        self.judge_in(text, self.directory())
    }

    /// The same for a text that is tried in another directory.
    pub(crate) fn judge_in(&self, text: &str, directory: &Path) -> Result<Judgement> {
        let mut tried = tempfile::Builder::new()
            .prefix(".tried-")
            .suffix(".toml")
            .tempfile_in(directory)
            .with_context(|| format!("{} cannot be written", self.path.display()))?;
        tried.write_all(text.as_bytes())?;
        let judgement = check(tried.path(), text, false)?;
        Ok(match judgement {
            Judgement::Refused(reason) => {
                let tried = tried.path().display().to_string();
                Judgement::Refused(reason.replace(&tried, &self.path.display().to_string()))
            }
            other => other,
        })
    }

    /// Asks the daemon's program what it would say to a text, without writing anything here:
    /// somewhere else, where the files `key` and `uri` stand for all that is kept elsewhere.
    pub(crate) fn foresee(&self, text: &str) -> Result<Judgement> {
        let elsewhere = tempfile::tempdir()?;
        private_file(elsewhere.path(), "key", STAND_IN)?;
        private_file(elsewhere.path(), "uri", "https://localhost/")?;
        private_file(elsewhere.path(), "config.toml", text)?;
        let tried = elsewhere.path().join("config.toml");
        let judgement = check(&tried, text, false)?;
        let Judgement::Refused(reason) = judgement else {
            return Ok(judgement);
        };
        let tried = tried.display().to_string();
        let reason = reason.replace(&tried, &self.path.display().to_string());
        let there = elsewhere.path().display().to_string();
        let here = self.directory().display().to_string();
        Ok(Judgement::Refused(reason.replace(&there, &here)))
    }

    /// Puts a text in the place of what is there, whole or not at all.
    pub(crate) fn put(&self, text: &str) -> Result<()> {
        self.place.exchange(text)
    }

    /// Tells whether others may read what is there.
    pub(crate) fn is_open(&self) -> bool {
        self.place.is_open()
    }
}

/// Asks the daemon's program what it says to a file with a text, as it stands there. What
/// systemd or the environment gives to the daemon alone is taken as given.
pub(crate) fn check(path: &Path, text: &str, is_system: bool) -> Result<Judgement> {
    ask("--check", path, text, is_system)
}

/// Has the daemon's program connect to the STS of a file with a text, as it would from here.
pub(crate) fn connect(path: &Path, text: &str, is_system: bool) -> Result<Judgement> {
    ask("--connect", path, text, is_system)
}

fn ask(what: &str, path: &Path, text: &str, is_system: bool) -> Result<Judgement> {
    let Some(stsd) = subprocess::find("stsd") else {
        let reason = "stsd is neither beside stsctl nor in PATH";
        return Ok(Judgement::Unknown(reason.to_owned()));
    };
    let mut command = Command::new(stsd);
    command.arg(what).env("STSD_CONFIG", path);
    if is_system {
        command.arg("--system");
    }
    let stand_ins = stand_ins(text)?;
    if let Some(directory) = &stand_ins {
        command.env("CREDENTIALS_DIRECTORY", directory.path());
    }
    // What the daemon will find in its own environment need not be in this one.
    for (name, stand_in) in ENVIRONMENT {
        if env::var_os(name).is_none_or(|it| it.is_empty()) {
            command.env(name, stand_in);
        }
    }
    for name in variables(text) {
        if env::var_os(&name).is_none() {
            command.env(name, "LTAISTANDIN");
        }
    }
    let said = match subprocess::run(command, None) {
        Ok(said) => said,
        Err(error) => return Ok(Judgement::Unknown(format!("{error:#}"))),
    };
    if said.status.success() {
        return Ok(Judgement::Good);
    }
    let reason = String::from_utf8_lossy(&said.stderr);
    let reason = reason.trim_end().trim_start_matches("stsd: ").to_owned();
    Ok(Judgement::Refused(reason))
}

/// Returns where the daemon looks for it.
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

/// Returns the variables in which the daemon, and not this program, has a key.
fn variables(text: &str) -> Vec<String> {
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let sources = table.get("source").and_then(|it| it.as_table());
    let named = sources.into_iter().flatten().filter_map(|(_, source)| {
        let names = source.get("access_key_env")?.as_table()?;
        Some(names.values().filter_map(|it| it.as_str()))
    });
    // What no variable is called, the daemon says.
    let is_name = |it: &&str| !it.is_empty() && !it.contains(['=', '\0']);
    named.flatten().filter(is_name).map(str::to_owned).collect()
}

/// Makes a directory with a key for each that the daemon would get from systemd: those are
/// encrypted, and open nowhere but in its unit.
fn stand_ins(text: &str) -> Result<Option<tempfile::TempDir>> {
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let sources = table.get("source").and_then(|it| it.as_table());
    let credentials = sources.into_iter().flatten().filter_map(|(_, source)| {
        let name = source.get("access_key_credential")?.as_str()?;
        (!name.contains('/') && !name.starts_with('.')).then_some(name)
    });
    let credentials: Vec<_> = credentials.collect();
    if credentials.is_empty() {
        return Ok(None);
    }
    let directory = tempfile::tempdir()?;
    for name in credentials {
        private_file(directory.path(), name, STAND_IN)?;
    }
    Ok(Some(directory))
}

fn private_file(directory: &Path, name: &str, text: &str) -> Result<()> {
    let file = tempfile::Builder::new().tempfile_in(directory)?;
    file.as_file().write_all(text.as_bytes())?;
    file.persist(directory.join(name))?;
    Ok(())
}
