//! The health check of the wanted profiles.
//!
//! A profile is stale if it has no valid session, or if its last refresh has failed. The wanted
//! profiles are the named ones; without names, every profile that is in recent use or kept warm.
//! An idle profile is healthy. A daemon with a lasting problem of its own, such as a refused
//! configuration, is not, although it serves.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;
use stsd_client::{Condition, FailureKind, ProfileStatus};

use super::report::{StatusReport, unknown_profile};
use crate::term::{
    duration::format_duration,
    stdout::print_json,
    style,
    style::{ERROR, Line, OK, PLAIN, wrap},
};

/// A stale profile, with the reason.
struct Stale<'a> {
    name: &'a str,
    why: String,
    hint: &'a str,
    exit_code: u8,
}

/// The exit code for a problem of the daemon itself while all wanted profiles are fresh, as of a fault
/// of `stsctl doctor`.
const EXIT_FAULT: u8 = 9;

/// Prints the stale profiles and the daemon's problems; the exit code is 6 or 7 for a stale profile,
/// else 9 for a problem.
pub(super) fn check(report: &StatusReport, names: &[String], as_json: bool) -> Result<ExitCode> {
    let profiles = &report.status.profiles;
    let missing = |name: &&String| profiles.iter().all(|it| it.name != **name);
    if let Some(name) = names.iter().find(missing) {
        return Err(unknown_profile(name, &report.status).into());
    }
    let is_wanted = |it: &&ProfileStatus| {
        if names.is_empty() {
            it.next_attempt_seconds.is_some() || it.last_failure.is_some()
        } else {
            names.contains(&it.name)
        }
    };
    let wanted: Vec<_> = profiles.iter().filter(is_wanted).collect();
    let stale: Vec<_> = wanted.iter().filter_map(|it| stale(it)).collect();
    let problems: Vec<_> = report.problems().collect();
    if as_json {
        let listed = |it: &Stale<'_>| json!({"name": it.name, "why": it.why, "hint": it.hint});
        let stale: Vec<_> = stale.iter().map(listed).collect();
        let problems = problems.iter();
        let problems =
            problems.map(|it| json!({"name": it.name, "why": it.message, "hint": it.hint}));
        let problems: Vec<_> = problems.collect();
        let document = json!({
            "healthy": stale.is_empty() && problems.is_empty(),
            "wanted": wanted.len(),
            "stale": stale,
            "problems": problems,
        });
        print_json(&document)?;
    } else {
        print(&stale, &problems, wanted.len())?;
    }
    let fault = (!problems.is_empty()).then_some(EXIT_FAULT);
    let code = stale.iter().map(|it| it.exit_code).max().or(fault);
    Ok(ExitCode::from(code.unwrap_or(0)))
}

fn print(stale: &[Stale<'_>], problems: &[&Condition], wanted: usize) -> Result<()> {
    let width = style::terminal_width(&std::io::stdout());
    if stale.is_empty() && problems.is_empty() {
        let line = Line::new(OK, "healthy").with(PLAIN, format!(": profiles wanted: {wanted}"));
        return style::print_lines(&[line], width);
    }
    let mut lines = Vec::new();
    let mut add = |text: String, hint: &str| {
        lines.extend(wrap(ERROR, ("", "  "), &text, width));
        if !hint.is_empty() {
            let hint = format!("hint: {hint}");
            lines.extend(wrap(PLAIN, ("  ", "    "), &hint, width));
        }
    };
    for it in stale {
        add(format!("stale: {}: {}", it.name, it.why), it.hint);
    }
    for it in problems {
        add(format!("problem: {}: {}", it.name, it.message), &it.hint);
    }
    style::print_lines(&lines, width)
}

fn stale(profile: &ProfileStatus) -> Option<Stale<'_>> {
    let stale = |why, hint, exit_code| {
        let name = &profile.name;
        Some(Stale {
            name,
            why,
            hint,
            exit_code,
        })
    };
    match (&profile.last_failure, profile.remaining_seconds) {
        (None, Some(_)) => None,
        (Some(last), left) => {
            let served = match left {
                Some(left) => format!("served for {} more, but ", format_duration(left)),
                None => "no credentials: ".to_owned(),
            };
            let code = match last.failure.kind {
                FailureKind::DeniedBySts => 7,
                _ => 6,
            };
            let why = format!("{served}{}", last.failure.message);
            stale(why, &last.failure.hint, code)
        }
        (None, None) => {
            let why = format!("no credentials: {}", profile.next_attempt_reason);
            let hint = match profile.next_attempt_seconds {
                Some(_) => "ask again in a moment",
                None => "keep_warm = true in the profile has it renewed without requests",
            };
            stale(why, hint, 6)
        }
    }
}
