//! Decides whether a tool would have the profile's credentials now: what its file says, what
//! the command or the URL named there gives, and what shadows it.

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
use zeroize::Zeroizing;

use super::{
    document::Needs,
    http_get,
    tool::{Named, Tool, Wanted, Way},
};
use crate::{
    edit::file::Place,
    report::{Finding, Verdict},
    subprocess, token_file,
};

/// How long a command may run: longer than the shim's own patience.
const LONGEST_RUN: Duration = Duration::from_secs(15);

pub(super) fn examine(
    tool: &Tool,
    wanted: &Wanted,
    client: &Client,
    socket: Option<&Path>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let named = match &tool.way {
        Way::File(file) | Way::FileOfAnother(file) => {
            let path = (file.path)();
            let what = path
                .as_ref()
                .map_or("its file".to_owned(), |it| it.display().to_string());
            let named = path.and_then(|path| {
                let place = Place::look(&path)?;
                let text = place
                    .text()?
                    .context("there is no such file; --write makes it")?;
                (file.names)(text, wanted)
            });
            match named {
                Ok(named) => {
                    findings.push(finding(Verdict::Ok, what, format!("has {}", wanted.name)));
                    Some(named)
                }
                Err(error) => {
                    findings.push(finding(Verdict::Fault, what, format!("{error:#}")));
                    None
                }
            }
        }
        Way::Shim | Way::Keys => Some(Named::Command(wanted.command.clone())),
        Way::Url | Way::UrlWithFile => match client.url(&wanted.profile) {
            Ok(url) => {
                if matches!(tool.way, Way::UrlWithFile) {
                    findings.push(token(token_file::find(socket, &url.token).as_deref()));
                }
                Some(Named::Url(url.url.expose().to_owned()))
            }
            Err(error) => {
                findings.push(finding(Verdict::Fault, "URL", with_hint(&error)));
                None
            }
        },
    };
    if let Some(named) = &named
        && !named.is_of(&wanted.profile)
    {
        let what = format!(
            "what is named there is not of the profile {}",
            wanted.profile
        );
        findings.push(finding(Verdict::Fault, "profile", what));
    }
    findings.extend(named.map(|named| match named {
        Named::Command(command) => of_command(&command, &tool.needs),
        Named::Url(url) => of_url(&url, &tool.needs),
    }));
    findings.extend(tool.shadows.iter().filter(|it| it.is_there()).map(|it| {
        let verdict = if it.fatal {
            Verdict::Fault
        } else {
            Verdict::Warning
        };
        finding(verdict, "environment", format!("{} {}", it.name, it.what))
    }));
    findings
}

impl Named {
    fn is_of(&self, profile: &str) -> bool {
        match self {
            Self::Command(command) => command.split_whitespace().skip(1).any(|it| it == profile),
            Self::Url(url) => url.rsplit('/').next() == Some(profile),
        }
    }
}

fn of_command(command: &str, needs: &Needs) -> Finding {
    let (verdict, remark) = match output(command, needs.silent) {
        Ok(document) => needs.judge(&document),
        Err(error) => (Verdict::Fault, format!("{error:#}")),
    };
    finding(verdict, "command", remark)
}

fn of_url(url: &str, needs: &Needs) -> Finding {
    let (verdict, remark) = match http_get::get(url) {
        Ok(answer) if answer.status == 200 => needs.judge(answer.body()),
        Ok(answer) => {
            let document = serde_json::from_slice::<serde_json::Value>(answer.body());
            let document = document.unwrap_or_default();
            let message = document["Message"].as_str().unwrap_or("without a message");
            let remark = format!("answers {}: {}", answer.status, printable(message));
            (Verdict::Fault, remark)
        }
        Err(error) => (Verdict::Fault, format!("{error:#}")),
    };
    finding(verdict, "URL", remark)
}

/// Runs a command as most of these tools do: split at white space, without a shell. The tool
/// may be started where the socket is not named.
fn output(command: &str, silent: bool) -> Result<Zeroizing<Vec<u8>>> {
    let mut words = command.split_whitespace();
    let program = words.next().context("it names no command")?;
    ensure!(program.starts_with('/'), "{program} is no absolute path");
    let mut child = Command::new(program)
        .args(words)
        .env_remove("STSD_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} cannot be started"))?;
    let status = subprocess::exit(&mut child, program, LONGEST_RUN)?;
    let mut document = Zeroizing::new(vec![0; 64 * 1024]);
    let mut complaint = vec![0; 1024];
    let length = left_in(child.stdout.take(), &mut document);
    document.truncate(length);
    let length = left_in(child.stderr.take(), &mut complaint);
    let complaint = String::from_utf8_lossy(&complaint[..length]);
    let complaint = printable(complaint.trim());
    ensure!(status.success(), "{complaint} ({status})");
    if silent {
        ensure!(
            complaint.is_empty(),
            "it says something besides, which is read as a part of it"
        );
    }
    Ok(document)
}

/// Returns how much is in a pipe now: a process that the command has left behind may hold the
/// other end open.
fn left_in<P: io::Read + AsFd>(pipe: Option<P>, buffer: &mut [u8]) -> usize {
    let Some(mut pipe) = pipe else { return 0 };
    if fcntl_setfl(&pipe, OFlags::NONBLOCK).is_err() {
        return 0;
    }
    pipe.read(buffer).unwrap_or(0)
}

fn token(file: Option<&Path>) -> Finding {
    match file {
        Some(file) => finding(Verdict::Ok, "secret's file", file.display().to_string()),
        None => finding(
            Verdict::Fault,
            "secret's file",
            "this tool looks at no URL without one; XDG_RUNTIME_DIR has to be a tmpfs of your own",
        ),
    }
}

fn with_hint(error: &Error) -> String {
    format!("{error}; {}", error.hint())
}

fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn finding(verdict: Verdict, what: impl Into<String>, remark: impl Into<String>) -> Finding {
    Finding {
        verdict,
        what: what.into(),
        remark: remark.into(),
        fix: String::new(),
    }
}
