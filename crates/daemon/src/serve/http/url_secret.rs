//! The secret of the URLs: 256 random bits, kept over restarts.

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

/// Number of characters of a secret: two hexadecimal digits for each of 32 bytes.
const SECRET_CHARS: usize = 64;

/// The secret, and the file that keeps it for the next process.
pub struct UrlSecret {
    text: RwLock<SecretText>,
    file: Option<PathBuf>,
}

impl UrlSecret {
    /// Returns the secret of the previous process: `handed_over`, or the contents of `file`. A new
    /// secret is created if there is none. Nothing is written yet.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn take_over(handed_over: Option<SecretText>, file: Option<PathBuf>) -> io::Result<Self> {
        let previous = handed_over.filter(is_well_formed);
        let previous = previous.or_else(|| file.as_deref().and_then(read));
        let text = match previous {
            Some(text) => text,
            None => generate()?,
        };
        Ok(Self {
            text: RwLock::new(text),
            file,
        })
    }

    /// Returns the secret, for a URL.
    #[must_use]
    pub fn text(&self) -> SecretText {
        sync::read(&self.text).clone()
    }

    /// Returns `true` if `candidate` is the secret. The comparison takes constant time, so that
    /// its duration reveals no part of the secret.
    #[must_use]
    pub fn verify(&self, candidate: &str) -> bool {
        let text = sync::read(&self.text);
        text.expose().as_bytes().ct_eq(candidate.as_bytes()).into()
    }

    /// Replaces the secret: all earlier URLs become invalid.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn rotate(&self) -> io::Result<()> {
        *sync::write(&self.text) = generate()?;
        self.save();
        Ok(())
    }

    /// Writes the secret to its file, for the next process.
    pub fn save(&self) {
        let Some(file) = &self.file else { return };
        let text = self.text();
        if read(file).is_some_and(|saved| saved == text) {
            return;
        }
        if let Err(error) = write(file, &text) {
            warn!(
                "cannot save the secret of the URLs, which change with a restart: {}: {error}",
                file.display()
            );
        }
    }
}

fn generate() -> io::Result<SecretText> {
    let mut bytes = zeroize::Zeroizing::new([0; SECRET_CHARS / 2]);
    getrandom::fill(&mut *bytes).map_err(io::Error::other)?;
    // Large enough from the start: a text that grows leaves copies behind.
    let mut text = String::with_capacity(SECRET_CHARS);
    for byte in *bytes {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from_digit(half.into(), 16).unwrap_or_default());
        }
    }
    Ok(text.into())
}

fn is_well_formed(text: &SecretText) -> bool {
    let text = text.expose();
    text.len() == SECRET_CHARS && text.bytes().all(|it| it.is_ascii_hexdigit())
}

/// Returns the secret in a file; `None` if the file is not private to the daemon's user.
fn read(file: &Path) -> Option<SecretText> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(file)
        .ok()?;
    let metadata = file.metadata().ok()?;
    let is_private = metadata.is_file()
        && metadata.uid() == geteuid().as_raw()
        && metadata.mode() & 0o077 == 0
        && metadata.len() == SECRET_CHARS as u64;
    let mut text = String::with_capacity(SECRET_CHARS + 1);
    if !is_private {
        return None;
    }
    (&mut file)
        .take(SECRET_CHARS as u64 + 1)
        .read_to_string(&mut text)
        .ok()?;
    Some(SecretText::from(text)).filter(is_well_formed)
}

/// Replaces the file by `rename`. The file has no newline: AWS SDKs send all bytes of such a
/// file.
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

    use super::{SECRET_CHARS, UrlSecret};

    fn open(file: Option<std::path::PathBuf>) -> UrlSecret {
        UrlSecret::take_over(None, file).unwrap()
    }

    #[test]
    fn verify_accepts_only_the_whole_current_secret() {
        let secret = open(None);
        let text = secret.text().expose().to_owned();
        assert_eq!(text.len(), SECRET_CHARS);
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
    fn secret_is_restored_only_from_a_private_regular_file() {
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
        let malformed = ["x".repeat(SECRET_CHARS), "0".repeat(SECRET_CHARS + 1)];
        for wrong in ["", "short", &malformed[0], &malformed[1]] {
            fs::write(&file, wrong).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            assert_ne!(open(Some(file.clone())).text().expose(), wrong);
        }
        let elsewhere = directory.path().join("elsewhere");
        fs::rename(&file, &elsewhere).unwrap();
        fs::write(&elsewhere, "0".repeat(SECRET_CHARS)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
        assert_ne!(open(Some(file)).text().expose(), "0".repeat(SECRET_CHARS));
    }
}
