//! The check of a tool: the entry in its file, the output of the command or the URL in that entry,
//! and the variables that take precedence.

use std::{
    io,
    os::fd::AsFd,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{OFlags, fcntl_setfl};
use stsd_client::{Client, Error};
use stsd_document::Printable;
use zeroize::Zeroizing;

use super::{
    document::DocumentRequirements,
    http_get,
    tool::{self, CredentialRef, Delivery, SetupRequest, Tool, ToolConfigFile},
};
use crate::{
    edit::file::EditableFile,
    report::{Finding, Severity},
    subprocess, token_file,
};

/// Timeout of a command; longer than the shim's own timeout.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) fn findings(tool: &Tool, request: &SetupRequest, client: &Client) -> Vec<Finding> {
    let mut findings = Vec::new();
    let found = match &tool.delivery {
        Delivery::File(config) | Delivery::OtherToolsFile(config) => {
            of_file(config, request, &mut findings)
        }
        Delivery::Shim | Delivery::StaticKeys => {
            Some(CredentialRef::Command(request.command.clone()))
        }
        Delivery::Url | Delivery::UrlAndTokenFile => match client.url(&request.profile) {
            Ok(url) => {
                if matches!(tool.delivery, Delivery::UrlAndTokenFile) {
                    let file = token_file::find(client.socket(), &url, &request.profile);
                    findings.push(token(file.as_deref()));
                }
                Some(CredentialRef::Url(url.url.expose().to_owned()))
            }
            Err(error) => {
                findings.push(finding(Severity::Fault, "URL", with_hint(&error)));
                None
            }
        },
    };
    findings.extend(found.map(|found| match found {
        CredentialRef::Command(command) => of_command(&command, &tool.needs),
        CredentialRef::Url(url) => match outdated(&url, client, &request.profile) {
            Some(problem) => finding(Severity::Fault, "URL", problem),
            None => of_url(&url, &tool.needs),
        },
    }));
    findings.extend(tool.overrides.iter().filter(|it| it.is_set()).map(|it| {
        let severity = if it.is_fatal {
            Severity::Fault
        } else {
            Severity::Warning
        };
        finding(severity, "environment", format!("{} {}", it.name, it.what))
    }));
    findings
}

/// Adds the findings about the tool's file; returns the command or the URL of the entry.
fn of_file(
    config: &ToolConfigFile,
    request: &SetupRequest,
    findings: &mut Vec<Finding>,
) -> Option<CredentialRef> {
    let path = (config.path)();
    let what = path
        .as_ref()
        .map_or("its file".to_owned(), |it| it.display().to_string());
    let found = path.and_then(|path| {
        let file = EditableFile::open(&path)?;
        let text = file
            .text()?
            .context("there is no such file; --write makes it")?;
        let found = (config.find)(text, request)?;
        Ok((found, (config.warnings)(text, request)))
    });
    let (found, warnings) = match found {
        Ok(found) => found,
        Err(error) => {
            findings.push(finding(Severity::Fault, what, format!("{error:#}")));
            return None;
        }
    };
    let profile = &request.profile;
    findings.push(if found.is_of(profile) {
        finding(Severity::Ok, what, format!("has {}", request.name))
    } else {
        let remark = format!("what is named there is not of the profile {profile}");
        finding(Severity::Fault, what, remark)
    });
    findings.extend(warnings);
    Some(found)
}

impl CredentialRef {
    fn is_of(&self, profile: &str) -> bool {
        match self {
            Self::Command(command) => command.split_whitespace().skip(1).any(|it| it == profile),
            Self::Url(url) => url.rsplit('/').next() == Some(profile),
        }
    }
}

/// Returns why a URL is not the profile's current one; `None` for the current one. No other URL is
/// requested: its secret would reach the process that listens there.
fn outdated(url: &str, client: &Client, profile: &str) -> Option<String> {
    match client.url(profile) {
        Ok(current) if current.url.expose() == url => None,
        Ok(_) => Some(
            "it is not the profile's current URL: the daemon's port or its secrets have changed; \
             --write writes it anew"
                .to_owned(),
        ),
        Err(error) => Some(with_hint(&error)),
    }
}

fn of_command(command: &str, needs: &DocumentRequirements) -> Finding {
    let (severity, remark) = match output(command, needs.rejects_stderr) {
        Ok(document) => needs.check(&document),
        Err(error) => (Severity::Fault, format!("{error:#}")),
    };
    finding(severity, "command", remark)
}

fn of_url(url: &str, needs: &DocumentRequirements) -> Finding {
    let (severity, remark) = match http_get::get(url) {
        Ok(answer) if answer.status == 200 => needs.check(answer.body()),
        Ok(answer) => {
            let document = serde_json::from_slice::<serde_json::Value>(answer.body());
            let document = document.unwrap_or_default();
            let message = document["Message"].as_str().unwrap_or("without a message");
            let remark = format!("answers {}: {}", answer.status, one_line(message));
            (Severity::Fault, remark)
        }
        Err(error) => (Severity::Fault, format!("{error:#}")),
    };
    finding(severity, "URL", remark)
}

/// Runs a command as most of these tools do: split at white space, without a shell. The environment is
/// that of a job without a session, which has the variables of neither systemd nor a login.
fn output(command: &str, rejects_stderr: bool) -> Result<Zeroizing<Vec<u8>>> {
    let mut words = command.split_whitespace();
    let program = words.next().context("it names no command")?;
    ensure!(program.starts_with('/'), "{program} is no absolute path");
    let mut child = Command::new(program)
        .args(words)
        .env_clear()
        .envs(tool::bare_environment())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} cannot be started"))?;
    let status = subprocess::wait_for_exit(&mut child, program, COMMAND_TIMEOUT)?;
    let mut document = Zeroizing::new(vec![0; 64 * 1024]);
    let mut stderr = vec![0; 1024];
    let length = read_available(child.stdout.take(), &mut document);
    document.truncate(length);
    let length = read_available(child.stderr.take(), &mut stderr);
    let stderr = String::from_utf8_lossy(&stderr[..length]);
    let stderr = one_line(stderr.trim());
    ensure!(status.success(), "{stderr} ({status})");
    if rejects_stderr {
        ensure!(
            stderr.is_empty(),
            "it says something besides, which is read as a part of it"
        );
    }
    Ok(document)
}

/// Reads the available bytes of a pipe without waiting for its end, which a background process of
/// the command may hold open; returns their number.
fn read_available<P: io::Read + AsFd>(pipe: Option<P>, buffer: &mut [u8]) -> usize {
    let Some(mut pipe) = pipe else { return 0 };
    if fcntl_setfl(&pipe, OFlags::NONBLOCK).is_err() {
        return 0;
    }
    pipe.read(buffer).unwrap_or(0)
}

fn token(file: Option<&Path>) -> Finding {
    match file {
        Some(file) => finding(Severity::Ok, "secret's file", file.display().to_string()),
        None => finding(
            Severity::Fault,
            "secret's file",
            "this tool looks at no URL without one; XDG_RUNTIME_DIR has to be a tmpfs of your own",
        ),
    }
}

fn with_hint(error: &Error) -> String {
    format!("{error}; {}", error.hint())
}

fn one_line(text: &str) -> String {
    Printable(text).to_string()
}

fn finding(severity: Severity, subject: impl Into<String>, remark: impl Into<String>) -> Finding {
    Finding {
        severity,
        subject: subject.into(),
        remark: remark.into(),
        fix: String::new(),
    }
}
