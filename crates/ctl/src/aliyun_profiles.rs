//! Converts the profiles of aliyun-cli and the SDKs to stsd's configuration: text in, a plan
//! out. No message quotes a value that may be a secret; only [`files`] reads a file, and
//! nothing here writes one.
//!
//! The keys and modes are those of aliyun-cli (`config/profile.go`) and of the SDKs' own
//! readers of both files (credentials-go `providers/profile.go`, `providers/cli_profile.go`).

mod chain;
mod command;
pub mod files;
mod ini;
mod json;
mod mapping;
mod mode;
mod names;
mod parsed_profile;
mod plan;
mod sources;
mod stale_secrets;
mod sts;
mod table;
#[cfg(test)]
mod tests;
mod uri;
mod valid;
mod variables;

use parsed_profile::ThirdPartyProfile;
pub use plan::{Disposition, Outcome, Plan, SecretToStore};
pub use stale_secrets::{NotImported, StaleSecrets};
pub use sts::Region;
use stsd_document::printable_start;
pub use table::{Table, quoted};
pub use valid::{access_key_id, access_key_secret};

/// Maximum number of profiles in a file; a file with more has another purpose.
const MAX_PROFILES: usize = 1000;

/// Maximum number of characters of a text of a file that a message shows.
const MAX_SHOWN_CHARS: usize = 64;

/// The problem of a file of aliyun-cli that begins with a byte order mark. The SDKs' files may have one.
pub const MARK_PROBLEM: &str = "it begins with a byte order mark, which aliyun-cli cannot read";

/// The mark of some editors of Windows.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The reason why a file cannot be parsed, without any of its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FileError(String);

/// The format of a file, recognized by its first character: JSON starts with an object, INI
/// with a section, a comment or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// aliyun-cli's `config.json`.
    Json,
    /// The SDKs' `credentials`.
    Ini,
}

impl FileFormat {
    fn of(text: &str) -> Self {
        let mut begins = text.chars().filter(|it| !it.is_whitespace());
        match (begins.next(), begins.next()) {
            // A JSON list is not a valid file either, but must not be read as an INI section.
            (Some('{'), _) | (Some('['), Some('{' | '[' | '"')) => Self::Json,
            _ => Self::Ini,
        }
    }
}

/// Maps a source's name to the key of `[source.NAME]` that locates its AccessKey, and the
/// value of that key.
pub type SecretLocation = fn(&str) -> (&'static str, String);

/// Returns the conversion of all profiles in a file's content.
///
/// # Errors
/// [`FileError`] if the content has another format.
pub fn plan(bytes: &[u8], location: SecretLocation) -> Result<Plan, FileError> {
    let (form, profiles) = profiles(bytes)?;
    if profiles.is_empty() {
        return file_error("there is no profile in it");
    }
    Ok(Plan::of(form, &profiles, location))
}

/// Returns the secrets that remain in a file.
///
/// # Errors
/// [`FileError`] if the content has another format.
pub fn stale_secrets(bytes: &[u8]) -> Result<StaleSecrets, FileError> {
    let (form, profiles) = profiles(bytes)?;
    // Where the secrets would be stored makes no difference here.
    let plan = Plan::of(form, &profiles, |name| ("access_key_file", name.to_owned()));
    let refusals = plan.outcomes.iter().map(|it| match &it.disposition {
        Disposition::Skipped(reason) => Some(reason.clone()),
        Disposition::Converted | Disposition::AlreadyPresent => None,
    });
    Ok(StaleSecrets::of(&profiles, &refusals.collect::<Vec<_>>()))
}

/// Returns the sections of a file of ossutil that hold a long-lived AccessKey.
///
/// # Errors
/// [`FileError`] if the content has another format.
pub fn ossutil_keys(bytes: &[u8]) -> Result<Vec<String>, FileError> {
    ini::ossutil_keys(text(bytes)?)
}

fn profiles(bytes: &[u8]) -> Result<(FileFormat, Vec<ThirdPartyProfile>), FileError> {
    let text = text(bytes)?;
    let form = FileFormat::of(text);
    let profiles = match form {
        FileFormat::Json => json::read(text)?,
        FileFormat::Ini => ini::read(text)?,
    };
    Ok((form, profiles))
}

/// Returns `true` for a file of aliyun-cli that begins with a byte order mark.
#[must_use]
pub fn has_unreadable_mark(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let body = text.strip_prefix(BYTE_ORDER_MARK);
    body.is_some_and(|it| FileFormat::of(it) == FileFormat::Json)
}

fn text(bytes: &[u8]) -> Result<&str, FileError> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|it| **it == b'\n').count();
            return file_error(&format!("it is not UTF-8, at line {line}"));
        }
    };
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    if text.trim().is_empty() {
        return file_error("it is empty");
    }
    Ok(text)
}

fn file_error<T>(problem: &str) -> Result<T, FileError> {
    Err(FileError(problem.to_owned()))
}

/// Returns a text of another tool's file, cut to a length and with unprintable characters escaped.
#[must_use]
pub fn printable(text: &str) -> String {
    printable_start(text, MAX_SHOWN_CHARS)
}
