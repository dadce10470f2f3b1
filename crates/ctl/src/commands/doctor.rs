//! Decides what is wrong, and how to mend it: each check is a line with ok, warning or
//! fault, and the fix. Nothing is changed, and nothing is waited for longer than seconds.

mod clock;
mod config;
mod endpoint;
mod environment;
mod key;
mod profiles;
mod sdk;
mod socket;
mod stale_secrets;
mod unit;

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use serde_json::json;
use stsd_client::{Audit, Client, Error, Status};

use crate::term::{
    stdout::say,
    style,
    style::{BAD, DOUBTFUL, GOOD, Line, PLAIN, STRONG, folded},
};

/// How bad a finding is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Ok,
    Warning,
    Fault,
}

/// One line of what was looked at.
pub(crate) struct Finding {
    pub(crate) verdict: Verdict,
    pub(crate) what: String,
    pub(crate) remark: String,
    /// What to do about it; empty where nothing is to be done.
    pub(crate) fix: String,
}

/// What all checks know.
struct Patient {
    /// Where the daemon is looked for.
    socket: PathBuf,
    /// The machine's daemon is meant, and not a user's.
    is_system: bool,
    status: Result<Status, Error>,
    audit: Option<Audit>,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }

    /// The exit code of what ends with this as its worst.
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Fault => 9,
        })
    }
}

impl Finding {
    fn ok(what: impl Into<String>, remark: impl Into<String>) -> Self {
        Self::of(Verdict::Ok, what, remark, "")
    }

    fn warning(what: impl Into<String>, remark: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::of(Verdict::Warning, what, remark, fix)
    }

    fn fault(what: impl Into<String>, remark: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::of(Verdict::Fault, what, remark, fix)
    }

    fn at_most(mut self, verdict: Verdict) -> Self {
        self.verdict = self.verdict.min(verdict);
        self
    }

    fn of(
        verdict: Verdict,
        what: impl Into<String>,
        remark: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            verdict,
            what: what.into(),
            remark: remark.into(),
            fix: fix.into(),
        }
    }

    fn lines(&self, width: Option<usize>) -> Vec<Line> {
        let style = match self.verdict {
            Verdict::Ok => GOOD,
            Verdict::Warning => DOUBTFUL,
            Verdict::Fault => BAD,
        };
        let word = format!("{:9}", self.verdict.word());
        let text = format!("{}: {}", self.what, self.remark);
        // Programs read lines, and have all of it in one.
        if width.is_none() {
            let mut text = text.replace('\n', " ");
            if !self.fix.is_empty() {
                text += &format!("; fix: {}", self.fix);
            }
            return vec![Line::of(style, word).and(PLAIN, text)];
        }
        let rest = " ".repeat(word.len());
        let narrower = width.map(|it| it.saturating_sub(word.len()));
        let mut lines = Vec::new();
        for part in folded(PLAIN, ("", ""), &text, narrower) {
            let first = if lines.is_empty() { &word } else { &rest };
            lines.push(Line::of(style, first).followed_by(part));
        }
        if !self.fix.is_empty() {
            let first = format!("{rest}fix: ");
            lines.extend(folded(STRONG, (&first, &rest), &self.fix, width));
        }
        lines
    }
}

/// Prints every check; returns the worst finding.
pub(crate) fn examine(client: &Client, socket: Option<&Path>, as_json: bool) -> Result<Verdict> {
    let socket = socket::place(socket);
    let status = client.status();
    // By a lease nothing but credentials is had.
    let steers = status.as_ref().is_ok_and(|it| it.pid != 0);
    let patient = Patient {
        is_system: socket == Path::new(socket::SYSTEM),
        socket,
        audit: steers.then(|| client.audit().ok()).flatten(),
        status,
    };
    let mut findings = socket::examine(&patient);
    let by_lease = patient.status.as_ref().is_ok_and(|it| it.pid == 0);
    if !by_lease {
        findings.extend(unit::examine(&patient));
        let mut config = config::examine(&patient);
        let keys = config.table.as_ref();
        let keys = keys.map(|it| key::examine(it, &config.directory));
        let keys = keys.unwrap_or_default();
        if worst(&keys) == Verdict::Fault {
            // The same once more, in the daemon's words.
            let is_of_key = |it: &Finding| it.remark.contains(".access_key_file: ");
            config.findings.retain(|it| !is_of_key(it));
        }
        findings.append(&mut config.findings);
        findings.extend(keys);
        if let Some(table) = &config.table {
            findings.extend(endpoint::examine(table, || config.connect()));
        }
    }
    if let Ok(status) = &patient.status {
        findings.extend(profiles::examine(status));
    }
    findings.extend(stale_secrets::examine());
    findings.extend(environment::examine(&patient));
    if as_json {
        return tell_program(&findings);
    }
    tell(&findings)
}

/// Prints findings, a line each and its fix; returns the worst.
pub(crate) fn tell(findings: &[Finding]) -> Result<Verdict> {
    let width = style::width(&io::stdout());
    let lines: Vec<_> = findings.iter().flat_map(|it| it.lines(width)).collect();
    style::print(&lines, width)?;
    Ok(worst(findings))
}

fn tell_program(findings: &[Finding]) -> Result<Verdict> {
    let all: Vec<_> = findings
        .iter()
        .map(|it| {
            json!({"check": it.what, "verdict": it.verdict.word(), "remark": it.remark, "fix": it.fix})
        })
        .collect();
    say(&serde_json::to_string_pretty(&all)?)?;
    Ok(worst(findings))
}

/// Takes `PROBLEM (hint: HINT)` apart, as the daemon's program says it.
fn hinted(line: &str) -> (&str, &str) {
    let (problem, hint) = line.rsplit_once(" (hint: ").unwrap_or((line, ""));
    (problem, hint.strip_suffix(')').unwrap_or(hint))
}

fn worst(findings: &[Finding]) -> Verdict {
    let verdicts = findings.iter().map(|it| it.verdict);
    verdicts.max().unwrap_or(Verdict::Ok)
}
