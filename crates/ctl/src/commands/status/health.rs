//! The health check of the wanted profiles.
//!
//! A profile is stale if it has no valid session, or if its last refresh has failed. The wanted
//! profiles are the named ones; without names, every profile that is in recent use or kept warm.
//! An idle profile is healthy.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;
use stsd_client::{FailureKind, ProfileStatus};

use super::report::StatusReport;
use crate::{
    error::CliError,
    term::{
        duration::format_duration,
        stdout::print_line,
        style,
        style::{ERROR, Line, OK, PLAIN, wrap},
    },
};

/// A stale profile, with the reason.
struct Stale<'a> {
    name: &'a str,
    why: String,
    hint: &'a str,
    exit_code: u8,
}

/// Prints the stale profiles; the exit code is 6 or 7 if there is one.
pub(super) fn check(report: &StatusReport, names: &[String], as_json: bool) -> Result<ExitCode> {
    let profiles = &report.status.profiles;
    let missing = |name: &&String| profiles.iter().all(|it| it.name != **name);
    if let Some(name) = names.iter().find(missing) {
        return Err(CliError {
            text: format!("no profile is named {name:?}, or it is not for you to see"),
            hint: "stsctl status lists the profiles",
            exit_code: 4,
        }
        .into());
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
    if as_json {
        let listed = |it: &Stale<'_>| json!({"name": it.name, "why": it.why, "hint": it.hint});
        let stale: Vec<_> = stale.iter().map(listed).collect();
        let document = json!({
            "healthy": stale.is_empty(),
            "wanted": wanted.len(),
            "stale": stale,
        });
        print_line(&serde_json::to_string_pretty(&document)?)?;
    } else {
        print(&stale, wanted.len())?;
    }
    let code = stale.iter().map(|it| it.exit_code).max();
    Ok(ExitCode::from(code.unwrap_or(0)))
}

fn print(stale: &[Stale<'_>], wanted: usize) -> Result<()> {
    let width = style::terminal_width(&std::io::stdout());
    if stale.is_empty() {
        let line = Line::new(OK, "healthy").with(PLAIN, format!(": profiles wanted: {wanted}"));
        return style::print_lines(&[line], width);
    }
    let mut lines = Vec::new();
    for it in stale {
        let text = format!("stale: {}: {}", it.name, it.why);
        lines.extend(wrap(ERROR, ("", "  "), &text, width));
        if !it.hint.is_empty() {
            let hint = format!("hint: {}", it.hint);
            lines.extend(wrap(PLAIN, ("  ", "    "), &hint, width));
        }
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
