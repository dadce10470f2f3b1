//! The secret stores of AccessKeys. An existing secret is never replaced.

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

use crate::{subprocess, systemd};

/// Timeout of the keyring, which may ask the user to unlock it.
const KEYRING_TIMEOUT: Duration = Duration::from_secs(10);

/// The secret store of an AccessKey.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SecretBackend {
    /// A file beside the configuration with mode 0600
    File,
    /// A systemd credential: encrypted for this machine, decrypted for the daemon only
    Credential,
    /// The desktop's keyring (Secret Service)
    Keyring,
}

/// A stored secret.
pub(crate) enum StoredSecret {
    /// In a new file.
    Created(PathBuf),
    /// The file existed with the same content.
    Unchanged(PathBuf),
    /// Outside the file system.
    External(&'static str),
}

impl SecretBackend {
    /// Returns the mapping from a source's name to the entry of its configuration.
    pub(crate) fn config_entry(self) -> SecretLocation {
        match self {
            Self::File => |name| ("access_key_file", format!("{name}.key")),
            Self::Credential => |name| ("access_key_credential", name.to_owned()),
            Self::Keyring => |name| ("access_key_keyring", name.to_owned()),
        }
    }

    /// Returns a description of the place of a key.
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

    /// Stores a key under a source's name. An existing secret is not replaced.
    pub(crate) fn store(
        self,
        name: &str,
        text: &SecretText,
        directory: &Path,
    ) -> Result<StoredSecret> {
        match self {
            Self::File => store_file(&directory.join(format!("{name}.key")), text),
            Self::Credential => {
                self.check_place(name, text, directory)?;
                let path = credential_path(name, directory);
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

    /// Checks that a key would replace no other secret; a keyring answers only when the key is
    /// stored.
    ///
    /// # Errors
    /// If there is another secret.
    pub(crate) fn check_place(self, name: &str, text: &SecretText, directory: &Path) -> Result<()> {
        match self {
            Self::File => find_file(&directory.join(format!("{name}.key")), text).map(drop),
            Self::Credential => {
                let path = credential_path(name, directory);
                // Only the daemon can decrypt an existing file, so it cannot be compared.
                ensure!(
                    fs::symlink_metadata(&path).is_err(),
                    "{} is there already; move it away first",
                    path.display()
                );
                Ok(())
            }
            Self::Keyring => Ok(()),
        }
    }

    /// Returns the manual steps after which the daemon finds these keys.
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
    /// Removes the secret if this run has created its file.
    pub(crate) fn undo(&self) {
        if let Self::Created(path) = self {
            let _ = fs::remove_file(path);
        }
    }
}

/// Returns the drop-in with which systemd passes these credentials to the daemon.
pub(crate) fn systemd_drop_in(names: &[&str], directory: &Path) -> String {
    let lines = names.iter().map(|name| {
        // In a unit file, % starts a specifier.
        let path = credential_path(name, directory).display().to_string();
        format!(
            "LoadCredentialEncrypted={name}:{}\n",
            path.replace('%', "%%")
        )
    });
    "[Service]\n".to_owned() + &lines.collect::<String>()
}

/// Stores a text in a new file with mode 0600.
pub(crate) fn store_file(path: &Path, text: &SecretText) -> Result<StoredSecret> {
    if find_file(path, text)? {
        return Ok(StoredSecret::Unchanged(path.to_owned()));
    }
    create_file(path, text.expose().as_bytes())?;
    Ok(StoredSecret::Created(path.to_owned()))
}

/// Returns `true` if a private file has this text, and `false` if there is no file.
///
/// # Errors
/// If the file has another text, or other users can read it.
pub(crate) fn find_file(path: &Path, text: &SecretText) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("{}", path.display())),
        Ok(_) => {}
    }
    ensure!(
        holds(path, text.expose().as_bytes()),
        "{} is there already and holds something else, or others may read it; it stays as it \
         is: move it away first",
        path.display()
    );
    Ok(true)
}

/// Returns `true` if only the owner can read a file and it holds these bytes.
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

/// Creates a new file atomically.
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

/// Returns the path of an encrypted credential.
fn credential_path(name: &str, directory: &Path) -> PathBuf {
    directory.join(format!("{name}.cred"))
}

/// Encrypts a text for a service: a system service for root, otherwise a user service.
fn encrypt(name: &str, text: &SecretText) -> Result<Zeroizing<Vec<u8>>> {
    const TOOL: &str = "systemd-creds";
    let tool = subprocess::find(TOOL);
    let tool = tool.context("systemd-creds is not installed; choose another --keeper")?;
    let mut command = Command::new(&tool);
    command.arg("encrypt");
    if !geteuid().is_root() {
        let mut version = Command::new(&tool);
        version.arg("--version");
        let output = subprocess::run(version, None)?.stdout;
        let output = String::from_utf8_lossy(&output).into_owned();
        let number = output.split_whitespace().nth(1).and_then(systemd::parse);
        let number = number.unwrap_or_default();
        if number < systemd::USER_CREDENTIALS {
            bail!(
                "a user's services can decrypt from systemd {} on, and this is {number}; choose another \
                 --keeper",
                systemd::USER_CREDENTIALS
            );
        }
        command.arg("--user");
    }
    command.arg(format!("--name={name}")).args(["-", "-"]);
    let output = subprocess::run(command, Some(text))?;
    if !output.status.success() || output.stdout.is_empty() {
        let reason = String::from_utf8_lossy(&output.stderr);
        let reason = reason.lines().next().unwrap_or("without a message");
        bail!("{TOOL} has not encrypted it: {}", printable(reason));
    }
    Ok(output.stdout)
}

/// Stores a text in the desktop's keyring under a key. An existing item with another text is an
/// error.
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
