//! Decides what opens the URLs: a secret of 256 bits, the same over restarts.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::RwLock,
};

use nix::unistd::geteuid;
use stsd_secret::SecretText;
use subtle::ConstantTimeEq as _;
use tracing::warn;

use crate::runtime::sync;

/// Characters of a secret: two for each of 32 bytes.
const LENGTH: usize = 64;

/// The secret, and where it waits for a process that comes after us.
pub struct UrlSecret {
    text: RwLock<SecretText>,
    file: Option<PathBuf>,
}

impl UrlSecret {
    /// Takes over the secret of a process before us: `handed_over`, else the one in `file`,
    /// else there is a new one. Nothing is written yet.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn take_over(handed_over: Option<SecretText>, file: Option<PathBuf>) -> io::Result<Self> {
        let left = handed_over.filter(is_whole);
        let left = left.or_else(|| file.as_deref().and_then(read));
        let text = match left {
            Some(text) => text,
            None => fresh()?,
        };
        Ok(Self {
            text: RwLock::new(text),
            file,
        })
    }

    /// Returns the secret itself, for a URL.
    #[must_use]
    pub fn text(&self) -> SecretText {
        sync::read(&self.text).clone()
    }

    /// Tells whether somebody knows the secret, in a time that does not tell how much of it.
    #[must_use]
    pub fn verify(&self, candidate: &str) -> bool {
        let text = sync::read(&self.text);
        text.expose().as_bytes().ct_eq(candidate.as_bytes()).into()
    }

    /// Puts another secret in its place: no URL that was given out opens anything.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn rotate(&self) -> io::Result<()> {
        *sync::write(&self.text) = fresh()?;
        self.save();
        Ok(())
    }

    /// Writes it where a process that comes after us looks.
    pub fn save(&self) {
        let Some(file) = &self.file else { return };
        let text = self.text();
        if read(file).is_some_and(|saved| saved == text) {
            return;
        }
        if let Err(error) = write(file, &text) {
            warn!(
                "the URLs would change with a restart: {}: {error}",
                file.display()
            );
        }
    }
}

fn fresh() -> io::Result<SecretText> {
    let mut bytes = zeroize::Zeroizing::new([0; LENGTH / 2]);
    getrandom::fill(&mut *bytes).map_err(io::Error::other)?;
    // Large enough from the start: a text that grows leaves copies behind.
    let mut text = String::with_capacity(LENGTH);
    for byte in *bytes {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from_digit(half.into(), 16).unwrap_or_default());
        }
    }
    Ok(text.into())
}

fn is_whole(text: &SecretText) -> bool {
    let text = text.expose();
    text.len() == LENGTH && text.bytes().all(|it| it.is_ascii_hexdigit())
}

/// Reads a secret that one of ours has left: its file, and nobody else's to read.
fn read(file: &Path) -> Option<SecretText> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(file)
        .ok()?;
    let metadata = file.metadata().ok()?;
    let ours = metadata.is_file()
        && metadata.uid() == geteuid().as_raw()
        && metadata.mode() & 0o077 == 0
        && metadata.len() == LENGTH as u64;
    let mut text = String::with_capacity(LENGTH + 1);
    if !ours {
        return None;
    }
    (&mut file)
        .take(LENGTH as u64 + 1)
        .read_to_string(&mut text)
        .ok()?;
    Some(SecretText::from(text)).filter(is_whole)
}

/// Puts a whole file in the place of the one before. Without a line's end: AWS SDKs send
/// what is in such a file to the byte.
fn write(path: &Path, text: &SecretText) -> io::Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut options = OpenOptions::new();
    let mut file: File = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.expose().as_bytes())?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::{LENGTH, UrlSecret};

    fn open(file: Option<std::path::PathBuf>) -> UrlSecret {
        UrlSecret::take_over(None, file).unwrap()
    }

    #[test]
    fn only_the_whole_secret_opens() {
        let secret = open(None);
        let text = secret.text().expose().to_owned();
        assert_eq!(text.len(), LENGTH);
        assert!(secret.verify(&text));
        for other in [
            "",
            &text[1..],
            &format!("{text}0"),
            &text.to_uppercase(),
            &"0".repeat(64),
        ] {
            assert!(!secret.verify(other) || other == text, "{other}");
        }
        secret.rotate().unwrap();
        assert!(!secret.verify(&text));
        assert_ne!(open(None).text(), secret.text());
    }

    #[test]
    fn it_is_the_same_after_a_restart_unless_somebody_else_could_have_put_it_there() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("http.token");
        let first = open(Some(file.clone()));
        first.save();
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(open(Some(file.clone())).text(), first.text());
        first.rotate().unwrap();
        assert_eq!(open(Some(file.clone())).text(), first.text());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert_ne!(open(Some(file.clone())).text(), first.text());
        for wrong in ["", "short", &"x".repeat(LENGTH), &"0".repeat(LENGTH + 1)] {
            fs::write(&file, wrong).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            assert_ne!(open(Some(file.clone())).text().expose(), wrong);
        }
        let elsewhere = directory.path().join("elsewhere");
        fs::rename(&file, &elsewhere).unwrap();
        fs::write(&elsewhere, "0".repeat(LENGTH)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
        assert_ne!(open(Some(file)).text().expose(), "0".repeat(LENGTH));
    }
}
