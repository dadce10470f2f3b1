//! The secrets in the URLs. Each is derived from a master secret, a user and a profile, so that a
//! URL opens one profile for one user.

use std::{io, sync::RwLock};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use stsd_secret::SecretText;
use subtle::ConstantTimeEq as _;
use tokio::sync::Notify;
use tracing::warn;

use super::master_file::{MasterFile, NotKept};
use crate::runtime::sync;

/// Number of characters of a secret: two hexadecimal digits for each of 32 bytes. As a key, the
/// master secret has the block length of SHA-256, which HMAC uses unchanged.
pub(super) const SECRET_CHARS: usize = 64;

/// The first part of a derivation's message: the master secret has this purpose only.
const DOMAIN: &[u8] = b"stsd-url-1:";

/// The master secret, and the secrets that are derived from it.
pub struct UrlSecrets {
    masters: RwLock<Masters>,
    file: MasterFile,
    /// Notified when the own master secret has been replaced.
    replaced: Notify,
}

struct Masters {
    /// The master secret of this daemon and of its predecessors.
    own: SecretText,
    /// The master secret of `http.secret_file`, which takes precedence.
    configured: Option<SecretText>,
    /// Why the own master secret does not outlive a reboot; `None` if it does, or is not used yet.
    not_kept: Option<NotKept>,
}

/// Why the secrets cannot be replaced.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The configuration names the master secret.
    #[error("the secrets of the URLs are derived from http.secret_file, which stsd does not write")]
    Configured,
    /// The system has no random bytes.
    #[error("the system has no random bytes: {0}")]
    Random(#[from] io::Error),
    /// The new master secret is in force, and the previous one returns with a restart.
    #[error("the URLs have changed, but the previous ones return with a restart: {0}")]
    NotKept(String),
}

impl RotateError {
    /// Returns what to do about the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Configured => {
                "write a new secret into that file (openssl rand -hex 32), then stsctl reload"
            }
            Self::Random(_) => "try again; look at the kernel's log",
            Self::NotKept(_) => {
                "make the directory writable for stsd, then run stsctl url --rotate again"
            }
        }
    }
}

impl UrlSecrets {
    /// Returns the secrets of the previous process, by its master secret: `handed_over`, or the content
    /// of `file`. A new master secret is created if there is none. Nothing is written yet.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn take_over(handed_over: Option<SecretText>, file: MasterFile) -> io::Result<Self> {
        let previous = handed_over.filter(is_well_formed).or_else(|| file.read());
        let own = match previous {
            Some(text) => text,
            None => generate()?,
        };
        Ok(Self {
            masters: RwLock::new(Masters {
                own,
                configured: None,
                not_kept: None,
            }),
            file,
            replaced: Notify::new(),
        })
    }

    /// Returns the own master secret, for the next process.
    #[must_use]
    pub fn own_master(&self) -> SecretText {
        sync::read(&self.masters).own.clone()
    }

    /// Uses the master secret of the configuration; `None` returns to the own one.
    pub fn configure(&self, configured: Option<SecretText>) {
        sync::write(&self.masters).configured = configured;
    }

    /// Returns `true` if the master secret is that of the configuration.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        sync::read(&self.masters).configured.is_some()
    }

    /// Returns the secret of a profile's URL for a user.
    #[must_use]
    pub fn derive(&self, uid: u32, profile: &str) -> SecretText {
        hex(&self.mac(uid, profile).finalize().into_bytes())
    }

    /// Returns `true` if `candidate` is the secret of a profile's URL for a user. The comparison
    /// takes constant time, so that its duration reveals no part of the secret.
    #[must_use]
    pub fn verify(&self, uid: u32, profile: &str, candidate: &str) -> bool {
        let expected = self.derive(uid, profile);
        expected
            .expose()
            .as_bytes()
            .ct_eq(candidate.as_bytes())
            .into()
    }

    /// Replaces the own master secret: all URLs that were derived from it become invalid.
    ///
    /// # Errors
    /// [`RotateError`]; after [`RotateError::NotKept`] the new master secret is in force.
    pub fn rotate(&self) -> Result<(), RotateError> {
        if self.is_configured() {
            return Err(RotateError::Configured);
        }
        sync::write(&self.masters).own = generate()?;
        self.replaced.notify_one();
        self.save();
        let not_kept = sync::read(&self.masters).not_kept.clone();
        match not_kept.filter(|it| it.leaves_old) {
            Some(NotKept { problem, .. }) => Err(RotateError::NotKept(problem)),
            None => Ok(()),
        }
    }

    /// Waits until the own master secret has been replaced.
    pub async fn replaced(&self) {
        self.replaced.notified().await;
    }

    /// Writes the own master secret to its file, for the next process.
    pub fn save(&self) {
        if self.is_configured() {
            return;
        }
        let outcome = self.file.save(&self.own_master());
        if let Err(NotKept { problem, .. }) = &outcome {
            warn!("the URLs will change with a reboot: {problem}");
        }
        sync::write(&self.masters).not_kept = outcome.err();
    }

    /// Returns why the URLs change with a reboot; `None` if they do not.
    #[must_use]
    pub fn not_kept(&self) -> Option<String> {
        let masters = sync::read(&self.masters);
        let not_kept = masters.not_kept.as_ref();
        not_kept
            .filter(|_| masters.configured.is_none())
            .map(|it| it.problem.clone())
    }

    /// Returns the computation of a secret: HMAC-SHA256 of domain, uid and profile. The uid has
    /// digits only, so that the message is unambiguous for any profile.
    fn mac(&self, uid: u32, profile: &str) -> Hmac<Sha256> {
        let masters = sync::read(&self.masters);
        let master = masters.configured.as_ref().unwrap_or(&masters.own);
        let mut mac = Hmac::<Sha256>::new_from_slice(master.expose().as_bytes())
            .expect("HMAC takes a key of any length");
        mac.update(DOMAIN);
        mac.update(uid.to_string().as_bytes());
        mac.update(b":");
        mac.update(profile.as_bytes());
        mac
    }
}

fn generate() -> io::Result<SecretText> {
    let mut bytes = zeroize::Zeroizing::new([0; SECRET_CHARS / 2]);
    getrandom::fill(&mut *bytes).map_err(io::Error::other)?;
    Ok(hex(&*bytes))
}

fn hex(bytes: &[u8]) -> SecretText {
    // Large enough from the start: a text that grows leaves copies behind.
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from_digit(half.into(), 16).unwrap_or_default());
        }
    }
    text.into()
}

/// Returns `true` if a text has the form of the master secrets that stsd writes.
pub(super) fn is_well_formed(text: &SecretText) -> bool {
    let text = text.expose();
    text.len() == SECRET_CHARS && text.bytes().all(|it| it.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use stsd_secret::SecretText;

    use super::{MasterFile, RotateError, SECRET_CHARS, UrlSecrets};

    /// The bytes 0 to 31.
    const MASTER: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn open() -> UrlSecrets {
        UrlSecrets::take_over(None, MasterFile::default()).unwrap()
    }

    #[test]
    fn url_secret_is_the_hmac_of_domain_uid_and_profile() {
        // printf stsd-url-1:1000:oss-upload | openssl dgst -sha256 -hmac MASTER
        let check = |uid, profile: &str, expected: &str| {
            let secrets = open();
            secrets.configure(Some(SecretText::from(MASTER.to_owned())));
            assert_eq!(secrets.derive(uid, profile).expose(), expected);
            assert!(secrets.verify(uid, profile, expected));
        };
        let expected = "9896ea6afef55f362be91572d4673a153033c1a6445bbf1df2ee1ef0d0d311e5";
        check(1000, "oss-upload", expected);
        let expected = "e8fff186756098d176815cf64c395e69278dc094adc436db85a31bfe415277bc";
        check(0, "a", expected);
        let expected = "46ea5f5c735a8a6b579c27c914e66b22641454f8bd48bd19ad1cc738d56e82bf";
        check(100, "0:a", expected);
    }

    #[test]
    fn url_secret_opens_one_profile_for_one_user() {
        let secrets = open();
        let pairs = [
            (1000, "oss-upload"),
            (1000, "oss-upload2"),
            (1000, ""),
            (100, "0:oss-upload"),
            (1001, "oss-upload"),
            (0, "oss-upload"),
        ];
        let mut seen = BTreeSet::new();
        for (uid, profile) in pairs {
            let secret = secrets.derive(uid, profile).expose().to_owned();
            for (other_uid, other_profile) in pairs {
                let is_same = (uid, profile) == (other_uid, other_profile);
                assert_eq!(secrets.verify(other_uid, other_profile, &secret), is_same);
            }
            seen.insert(secret);
        }
        assert_eq!(seen.len(), pairs.len());
        assert!(!seen.contains(secrets.own_master().expose()));
    }

    #[test]
    fn verify_accepts_only_the_whole_current_secret() {
        let secrets = open();
        let text = secrets.derive(0, "a").expose().to_owned();
        assert_eq!(text.len(), SECRET_CHARS);
        assert!(secrets.verify(0, "a", &text));
        for other in [
            "",
            &text[1..],
            &format!("{text}0"),
            &text.to_uppercase(),
            &"0".repeat(64),
        ] {
            assert!(!secrets.verify(0, "a", other) || other == text, "{other}");
        }
        secrets.rotate().unwrap();
        assert!(secrets.not_kept().is_some());
        assert!(!secrets.verify(0, "a", &text));
        assert_ne!(open().own_master(), secrets.own_master());
    }

    #[test]
    fn configured_master_is_neither_rotated_nor_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("http.secret");
        let kept = MasterFile {
            state: Some(file.clone()),
            runtime: None,
        };
        let secrets = UrlSecrets::take_over(None, kept).unwrap();
        let own = secrets.derive(0, "a");
        secrets.configure(Some(SecretText::from(MASTER.to_owned())));
        assert_ne!(secrets.derive(0, "a"), own);
        assert!(matches!(secrets.rotate(), Err(RotateError::Configured)));
        secrets.save();
        assert!(!file.exists());
        secrets.configure(None);
        assert_eq!(secrets.derive(0, "a"), own);
        secrets.rotate().unwrap();
        assert_ne!(secrets.derive(0, "a"), own);
        let saved = fs::read_to_string(&file).unwrap();
        assert_eq!(saved, secrets.own_master().expose());
    }
}
