//! The parsers of foreign text, for the fuzz targets. Built only with `--cfg fuzzing`.

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

/// Checks the text of a configuration as if it were at `path`.
///
/// # Errors
/// As [`config::load`].
pub fn configuration(
    text: &str,
    path: &Path,
    environment: &ProcessEnvironment,
) -> Result<Config, ConfigErrors> {
    config::parse(text, path, environment)
}

/// Parses the sessions of a handover, and returns their debug text.
#[must_use]
pub fn handed_over(bytes: &[u8]) -> String {
    memfd::parse_for_fuzzing(bytes)
}

/// Returns the response to a loopback client without the secret of the URLs, and a text that the
/// response must not hold.
#[must_use]
pub fn http(bytes: &[u8]) -> (Vec<u8>, &'static str) {
    crate::serve::http::respond_for_fuzzing(bytes)
}

/// Parses the text of a key file.
///
/// # Errors
/// As [`identity::AccessKey::in_file`].
pub fn key_file(text: &str) -> Result<SourceCredentials, identity::KeyFileError> {
    identity::access_key::parse(text)
}

/// Parses a credentials document of another program.
///
/// # Errors
/// As [`identity::Process`].
pub fn document(text: &str) -> Result<ResolvedIdentity, SourceError> {
    identity::parse_for_fuzzing(text)
}
