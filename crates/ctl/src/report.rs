//! Findings: what a check has found, how severe it is, and what fixes it.

use std::{io, process::ExitCode};

use anyhow::Result;
use serde_json::json;

use crate::term::{
    stdout,
    style::{self, BOLD, ERROR, Line, OK, PLAIN, WARN, wrap},
};

/// The severity of a finding, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Ok,
    Warning,
    Fault,
}

/// The result of one check.
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) subject: String,
    pub(crate) remark: String,
    /// What fixes the problem; empty without a problem.
    pub(crate) fix: String,
}

impl Severity {
    fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }

    /// Returns the exit code of a report with this as its maximum.
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Fault => 9,
        })
    }
}

impl Finding {
    pub(crate) fn ok(subject: impl Into<String>, remark: impl Into<String>) -> Self {
        Self::of(Severity::Ok, subject, remark, "")
    }

    pub(crate) fn warning(
        subject: impl Into<String>,
        remark: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::of(Severity::Warning, subject, remark, fix)
    }

    pub(crate) fn fault(
        subject: impl Into<String>,
        remark: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::of(Severity::Fault, subject, remark, fix)
    }

    pub(crate) fn at_most(mut self, severity: Severity) -> Self {
        self.severity = self.severity.min(severity);
        self
    }

    pub(crate) fn of(
        severity: Severity,
        subject: impl Into<String>,
        remark: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            subject: subject.into(),
            remark: remark.into(),
            fix: fix.into(),
        }
    }

    fn lines(&self, width: Option<usize>) -> Vec<Line> {
        let style = match self.severity {
            Severity::Ok => OK,
            Severity::Warning => WARN,
            Severity::Fault => ERROR,
        };
        let label = format!("{:9}", self.severity.label());
        let text = format!("{}: {}", self.subject, self.remark);
        // Without a terminal, a finding is one line, because programs read lines.
        if width.is_none() {
            let mut text = text.replace('\n', " ");
            if !self.fix.is_empty() {
                text += &format!("; fix: {}", self.fix);
            }
            return vec![Line::new(style, label).with(PLAIN, text)];
        }
        let rest = " ".repeat(label.len());
        let narrower = width.map(|it| it.saturating_sub(label.len()));
        let mut lines = Vec::new();
        for part in wrap(PLAIN, ("", ""), &text, narrower) {
            let first = if lines.is_empty() { &label } else { &rest };
            lines.push(Line::new(style, first).append(part));
        }
        if !self.fix.is_empty() {
            let first = format!("{rest}fix: ");
            lines.extend(wrap(BOLD, (&first, &rest), &self.fix, width));
        }
        lines
    }
}

/// Prints findings and their fixes; returns the maximum severity.
pub(crate) fn print(findings: &[Finding]) -> Result<Severity> {
    let width = style::terminal_width(&io::stdout());
    let lines: Vec<_> = findings.iter().flat_map(|it| it.lines(width)).collect();
    style::print_lines(&lines, width)?;
    Ok(worst(findings))
}

/// Returns the number of findings, and of those of each severity.
pub(crate) fn summary(findings: &[Finding]) -> String {
    let counted = |severity, one: &str, many: &str| {
        let found = findings.iter().filter(|it| it.severity == severity);
        match found.count() {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        }
    };
    let parts = [
        counted(Severity::Ok, "ok", "ok"),
        counted(Severity::Warning, "warning", "warnings"),
        counted(Severity::Fault, "fault", "faults"),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    format!("{} checks: {}", findings.len(), parts.join(", "))
}

pub(crate) fn print_json(findings: &[Finding]) -> Result<Severity> {
    let all: Vec<_> = findings
        .iter()
        .map(|it| {
            json!({"check": it.subject, "verdict": it.severity.label(), "remark": it.remark, "fix": it.fix})
        })
        .collect();
    stdout::print_json(&all)?;
    Ok(worst(findings))
}

pub(crate) fn worst(findings: &[Finding]) -> Severity {
    let severities = findings.iter().map(|it| it.severity);
    severities.max().unwrap_or(Severity::Ok)
}
