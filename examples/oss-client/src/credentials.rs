//! The credential process and the document that it prints.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// A session's credentials, or a long-lived key, which has no token.
#[derive(Deserialize)]
pub(crate) struct Credentials {
    #[serde(rename = "AccessKeyId")]
    pub(crate) id: String,
    #[serde(rename = "AccessKeySecret")]
    pub(crate) secret: String,
    #[serde(rename = "SecurityToken", default)]
    pub(crate) token: String,
}

/// Runs a command, split at white space and without a shell, and reads its document.
///
/// No error repeats what the process printed: that may be a part of a secret.
pub(crate) fn of_process(command: &str) -> Result<Credentials> {
    let mut words = command.split_whitespace();
    let program = words.next().context("the credential process is empty")?;
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run the credential process {program:?}"))?;
    ensure!(
        output.status.success(),
        "the credential process ended with {}",
        output.status
    );
    let document: Option<Credentials> = serde_json::from_slice(&output.stdout).ok();
    document
        .filter(|it| !it.id.is_empty() && !it.secret.is_empty())
        .context(
            "the credential process printed no JSON with AccessKeyId, AccessKeySecret and \
             SecurityToken",
        )
}
