//! Runs a credential process and reads the document it prints.
//!
//! Nothing that the process prints on standard output is ever repeated in an error:
//! it may be half a secret.

use std::process::{Command, ExitStatus, Stdio};

use serde::Deserialize;

/// A temporary or a lasting key.
#[derive(Deserialize)]
pub(crate) struct Credentials {
    #[serde(rename = "AccessKeyId")]
    pub(crate) id: String,
    #[serde(rename = "AccessKeySecret")]
    pub(crate) secret: String,
    #[serde(rename = "SecurityToken", default)]
    pub(crate) token: String,
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// No command at all.
    #[error("the credential process is empty")]
    Empty,
    /// The system could not run it.
    #[error("cannot run the credential process {program:?}")]
    Run {
        /// The command's first word.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It ran and said no; its own words went to standard error.
    #[error("the credential process ended with {0}")]
    Ended(ExitStatus),
    /// It printed something else.
    #[error(
        "the credential process printed no JSON with AccessKeyId, AccessKeySecret and SecurityToken"
    )]
    Document,
}

/// Runs the command: words split at white space, no shell.
pub(crate) fn ask(command: &str) -> Result<Credentials, CredentialsError> {
    let mut words = command.split_whitespace();
    let program = words.next().ok_or(CredentialsError::Empty)?;
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| CredentialsError::Run {
            program: program.to_owned(),
            source,
        })?;
    if !output.status.success() {
        return Err(CredentialsError::Ended(output.status));
    }
    serde_json::from_slice(&output.stdout)
        .ok()
        .filter(|credentials: &Credentials| {
            !credentials.id.is_empty() && !credentials.secret.is_empty()
        })
        .ok_or(CredentialsError::Document)
}
