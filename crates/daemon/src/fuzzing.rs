//! The parsers of foreign text, for the fuzz targets: without the files around them. Built with
//! `--cfg fuzzing` only.

use std::path::Path;

use stsd_sts::SourceCredentials;

use crate::{
    config,
    config::{Config, ConfigErrors},
    identity,
    identity::ProcessEnvironment,
    profile::{ResolvedIdentity, SourceError},
    session::memfd,
};

/// Checks the text of a configuration that stands at `path`.
///
/// # Errors
/// As [`config::load`].
pub fn configuration(
    text: &str,
    path: &Path,
    environment: &ProcessEnvironment,
) -> Result<Config, ConfigErrors> {
    config::parse(text.to_owned(), path, environment)
}

/// Reads what a restart hands over, and returns what is printed of it.
#[must_use]
pub fn handed_over(bytes: &[u8]) -> String {
    memfd::parse_for_fuzzing(bytes)
}

/// Answers what a caller on loopback sends, who does not know the secret; returns all
/// that it is answered, and what it must not hold.
#[must_use]
pub fn http(bytes: &[u8]) -> (Vec<u8>, &'static str) {
    crate::serve::http::respond_for_fuzzing(bytes)
}

/// Checks the text of a key file.
///
/// # Errors
/// As [`identity::AccessKey::in_file`].
pub fn key_file(text: &str) -> Result<SourceCredentials, identity::KeyFileError> {
    identity::access_key::parse(text)
}

/// Reads credentials that somebody else has made.
///
/// # Errors
/// As [`identity::Process`].
pub fn document(text: &str) -> Result<ResolvedIdentity, SourceError> {
    identity::parse_for_fuzzing(text)
}
