//! Decides what is wrong, and how to mend it: each check is a line with ok, warning or
//! fault, and what to do.

use anyhow::Result;
use stsd_client::{Client, Error, Status};

use crate::say;

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
}

/// Prints every check; returns the worst finding.
pub(crate) fn examine(client: &Client) -> Result<Verdict> {
    let findings = match client.status() {
        Ok(status) => findings(&status),
        Err(error) => vec![unreachable(&error)],
    };
    tell(&findings)
}

/// Prints findings, a line each; returns the worst.
pub(crate) fn tell(findings: &[Finding]) -> Result<Verdict> {
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Fault => "fault",
        };
        say(&format!("{verdict:8} {}: {}", finding.what, finding.remark))?;
    }
    let verdicts = findings.iter().map(|finding| finding.verdict);
    Ok(verdicts.max().unwrap_or(Verdict::Ok))
}

fn unreachable(error: &Error) -> Finding {
    Finding {
        verdict: Verdict::Fault,
        what: "daemon".to_owned(),
        remark: format!("{error}; {}", error.hint()),
    }
}

fn findings(status: &Status) -> Vec<Finding> {
    let daemon = Finding {
        verdict: Verdict::Ok,
        what: "daemon".to_owned(),
        remark: format!("stsd {}, pid {}", status.daemon_version, status.pid),
    };
    let protections = status.protections.iter().map(|it| Finding {
        verdict: if it.holds {
            Verdict::Ok
        } else {
            Verdict::Warning
        },
        what: it.name.clone(),
        remark: it.remark.clone(),
    });
    let profiles = status.profiles.iter().map(|it| {
        let (verdict, remark) = match (&it.last_failure, it.remaining_seconds, &it.advice) {
            (Some(last), None, _) => (
                Verdict::Fault,
                format!("{}; {}", last.failure.message, last.failure.hint),
            ),
            (Some(last), Some(left), _) => (
                Verdict::Warning,
                format!(
                    "served for {left} s more, but {}; {}",
                    last.failure.message, last.failure.hint
                ),
            ),
            (None, _, Some(advice)) => (Verdict::Warning, advice.clone()),
            (None, Some(left), None) => (Verdict::Ok, format!("served for {left} s more")),
            (None, None, None) => (Verdict::Ok, it.next_attempt_reason.clone()),
        };
        Finding {
            verdict,
            what: format!("profile {}", it.name),
            remark,
        }
    });
    [daemon]
        .into_iter()
        .chain(protections)
        .chain(profiles)
        .collect()
}
