//! Decides where an AccessKey is put away, and that nobody else's is lost for it.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::ValueEnum;
use rustix::{fs::OFlags, process::geteuid};
use stsctl::aliyun_profiles::{SecretLocation, printable};
use stsd_client::SecretText;
use stsd_keyring::{BusAddress, KeyringError};
use zeroize::Zeroizing;

use crate::subprocess;

/// From this version of systemd on, a user may encrypt for services of their own.
const MIN_SYSTEMD_FOR_USER_CREDENTIALS: u32 = 256;

/// How long the keyring is waited for.
const KEYRING_TIMEOUT: Duration = Duration::from_secs(10);

/// Who keeps an AccessKey.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SecretBackend {
    /// A file beside the configuration, for its owner alone
    File,
    /// A credential of systemd: encrypted for this machine, opened for the daemon alone
    Credential,
    /// The desktop's keyring (Secret Service)
    Keyring,
}

/// What was put away.
pub(crate) enum StoredSecret {
    /// In a file that was not there before.
    Created(PathBuf),
    /// It was there already.
    Unchanged(PathBuf),
    /// Where no file is.
    External(&'static str),
}

impl SecretBackend {
    /// Returns how a source names what is kept for it.
    pub(crate) fn config_entry(self) -> SecretLocation {
        match self {
            Self::File => |name| ("access_key_file", format!("{name}.key")),
            Self::Credential => |name| ("access_key_credential", name.to_owned()),
            Self::Keyring => |name| ("access_key_keyring", name.to_owned()),
        }
    }

    /// Returns where a key would be put, for people.
    pub(crate) fn location(self, name: &str, directory: &Path) -> String {
        match self {
            Self::File => {
                let path = directory.join(format!("{name}.key"));
                format!("{}, mode 0600", path.display())
            }
            Self::Credential => {
                let path = credential_path(name, directory);
                format!("{}, encrypted by systemd-creds", path.display())
            }
            Self::Keyring => format!("the keyring, as the key {name} of stsd"),
        }
    }

    /// Puts a key away under a source's name. Nothing that is there is replaced.
    pub(crate) fn store(
        self,
        name: &str,
        text: &SecretText,
        directory: &Path,
    ) -> Result<StoredSecret> {
        match self {
            Self::File => store_file(&directory.join(format!("{name}.key")), text),
            Self::Credential => {
                let path = credential_path(name, directory);
                // What is in it only the daemon may know, so it cannot be compared.
                ensure!(
                    fs::symlink_metadata(&path).is_err(),
                    "{} is there already; move it away first",
                    path.display()
                );
                let bytes = encrypt(name, text)?;
                create_file(&path, &bytes)?;
                Ok(StoredSecret::Created(path))
            }
            Self::Keyring => {
                let label = format!("AccessKey of stsd's source {name}");
                store_in_keyring(name, &label, text)
            }
        }
    }

    /// Returns what a human has to do besides, so that the daemon finds these keys.
    pub(crate) fn manual_steps(self, names: &[&str], directory: &Path) -> Option<String> {
        if self != Self::Credential || names.is_empty() {
            return None;
        }
        let edit = if geteuid().is_root() {
            "systemctl edit stsd.service"
        } else {
            "systemctl --user edit stsd.service"
        };
        let lines = systemd_drop_in(names, directory);
        Some(format!(
            "The daemon gets them from systemd once its unit says so, which `{edit}` lets you \
             write:\n\n{lines}"
        ))
    }
}

impl StoredSecret {
    /// Takes away what was put away just now.
    pub(crate) fn undo(&self) {
        if let Self::Created(path) = self {
            let _ = fs::remove_file(path);
        }
    }
}

/// Returns what makes systemd give the daemon these credentials.
pub(crate) fn systemd_drop_in(names: &[&str], directory: &Path) -> String {
    let lines = names.iter().map(|name| {
        // To systemd a % begins a specifier.
        let path = credential_path(name, directory).display().to_string();
        format!(
            "LoadCredentialEncrypted={name}:{}\n",
            path.replace('%', "%%")
        )
    });
    "[Service]\n".to_owned() + &lines.collect::<String>()
}

/// Puts a text into a file of its own, for its owner alone.
pub(crate) fn store_file(path: &Path, text: &SecretText) -> Result<StoredSecret> {
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_file(path, text.expose().as_bytes())?;
            return Ok(StoredSecret::Created(path.to_owned()));
        }
        Err(error) => return Err(error).with_context(|| format!("{}", path.display())),
        Ok(_) => holds(path, text.expose().as_bytes()),
    };
    ensure!(
        there,
        "{} is there already and holds something else, or others may read it; it stays as it \
         is: move it away first",
        path.display()
    );
    Ok(StoredSecret::Unchanged(path.to_owned()))
}

/// Tells whether a file is its owner's alone and holds these bytes.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path);
    let Ok(file) = opened else { return false };
    let ours = |file: &File| {
        let metadata = file.metadata().ok()?;
        let private = metadata.mode() & 0o077 == 0 && metadata.uid() == geteuid().as_raw();
        Some(metadata.is_file() && private)
    };
    if ours(&file) != Some(true) {
        return false;
    }
    let mut found = Zeroizing::new(Vec::with_capacity(bytes.len() + 1));
    let read = file.take(bytes.len() as u64 + 1).read_to_end(&mut found);
    read.is_ok() && *found == bytes
}

/// Makes a file that is not there yet, whole or not at all.
fn create_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let shown = path.display();
    let directory = path.parent().context("a file is in a directory")?;
    let mut file = tempfile::NamedTempFile::new_in(directory)
        .with_context(|| format!("{shown} cannot be written"))?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .with_context(|| format!("{shown} cannot be written"))?;
    file.persist_noclobber(path)
        .map_err(|it| it.error)
        .with_context(|| format!("{shown} cannot be written"))?;
    Ok(())
}

/// Where a credential stands, encrypted.
fn credential_path(name: &str, directory: &Path) -> PathBuf {
    directory.join(format!("{name}.cred"))
}

/// Encrypts a text for a service: of this machine where root does so, else of this user.
fn encrypt(name: &str, text: &SecretText) -> Result<Zeroizing<Vec<u8>>> {
    const TOOL: &str = "systemd-creds";
    let tool = subprocess::find(TOOL);
    let tool = tool.context("systemd-creds is not here; choose another --keeper")?;
    let mut command = Command::new(&tool);
    command.arg("encrypt");
    if !geteuid().is_root() {
        let mut version = Command::new(&tool);
        version.arg("--version");
        let output = subprocess::run(version, None)?.stdout;
        let output = String::from_utf8_lossy(&output).into_owned();
        let number = output.split_whitespace().nth(1);
        let number: u32 = number.and_then(|it| it.parse().ok()).unwrap_or_default();
        if number < MIN_SYSTEMD_FOR_USER_CREDENTIALS {
            bail!(
                "systemd {number} encrypts for root alone, and from {MIN_SYSTEMD_FOR_USER_CREDENTIALS} on for \
                 a user's own services; choose another --keeper"
            );
        }
        command.arg("--user");
    }
    command.arg(format!("--name={name}")).args(["-", "-"]);
    let output = subprocess::run(command, Some(text))?;
    if !output.status.success() || output.stdout.is_empty() {
        let reason = String::from_utf8_lossy(&output.stderr);
        let reason = reason.lines().next().unwrap_or("it says nothing");
        bail!("{TOOL} has not encrypted it: {}", printable(reason));
    }
    Ok(output.stdout)
}

/// Puts a text into the desktop's keyring, where the daemon looks for it under this key. What
/// is there for the key already stays, so that it has to be this very text.
fn store_in_keyring(key: &str, label: &str, text: &SecretText) -> Result<StoredSecret> {
    const PLACE: &str = "the keyring";
    let (address, runtime) = (
        env::var_os("DBUS_SESSION_BUS_ADDRESS"),
        env::var_os("XDG_RUNTIME_DIR"),
    );
    let keyring_error = |error: KeyringError| {
        let hint = error.hint();
        anyhow!(error).context(format!("the keyring has not taken the key {key} ({hint})"))
    };
    let bus =
        BusAddress::of_session(address.as_deref(), runtime.as_deref()).map_err(keyring_error)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match stsd_keyring::lookup(&bus, key, KEYRING_TIMEOUT).await {
            Ok(there) if there == *text => return Ok(StoredSecret::External(PLACE)),
            Ok(_) => bail!(
                "the keyring has something else under the key {key} of stsd already; it stays \
                 as it is: delete it there first"
            ),
            Err(KeyringError::NoItem(_)) => {}
            Err(error) => return Err(keyring_error(error)),
        }
        stsd_keyring::store(&bus, key, label, text, KEYRING_TIMEOUT)
            .await
            .map_err(keyring_error)?;
        Ok(StoredSecret::External(PLACE))
    })
}
