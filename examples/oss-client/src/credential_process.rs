//! The credential process.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use stsd_oss_client::Credentials;

/// Runs a command, split at white space and without a shell, and reads its document.
///
/// # Errors
/// No error repeats the output of the process, which may be a part of a secret.
pub(crate) fn run(command: &str) -> Result<Credentials> {
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
    Credentials::parse(&output.stdout).context(
        "the credential process printed no JSON with AccessKeyId, AccessKeySecret and \
         SecurityToken",
    )
}
