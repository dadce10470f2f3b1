//! Findings: what a check has found, how severe it is, and what fixes it.

use std::{io, process::ExitCode};

use anyhow::Result;
use serde_json::json;

use crate::term::{
    stdout::say,
    style::{self, BAD, DOUBTFUL, GOOD, Line, PLAIN, STRONG, folded},
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
    pub(crate) fn ok(what: impl Into<String>, remark: impl Into<String>) -> Self {
        Self::of(Verdict::Ok, what, remark, "")
    }

    pub(crate) fn warning(
        what: impl Into<String>,
        remark: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::of(Verdict::Warning, what, remark, fix)
    }

    pub(crate) fn fault(
        what: impl Into<String>,
        remark: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::of(Verdict::Fault, what, remark, fix)
    }

    pub(crate) fn at_most(mut self, verdict: Verdict) -> Self {
        self.verdict = self.verdict.min(verdict);
        self
    }

    pub(crate) fn of(
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

/// Prints findings, a line each and its fix; returns the worst.
pub(crate) fn tell(findings: &[Finding]) -> Result<Verdict> {
    let width = style::width(&io::stdout());
    let lines: Vec<_> = findings.iter().flat_map(|it| it.lines(width)).collect();
    style::print(&lines, width)?;
    Ok(worst(findings))
}

pub(crate) fn tell_program(findings: &[Finding]) -> Result<Verdict> {
    let all: Vec<_> = findings
        .iter()
        .map(|it| {
            json!({"check": it.what, "verdict": it.verdict.word(), "remark": it.remark, "fix": it.fix})
        })
        .collect();
    say(&serde_json::to_string_pretty(&all)?)?;
    Ok(worst(findings))
}

pub(crate) fn worst(findings: &[Finding]) -> Verdict {
    let verdicts = findings.iter().map(|it| it.verdict);
    verdicts.max().unwrap_or(Verdict::Ok)
}
