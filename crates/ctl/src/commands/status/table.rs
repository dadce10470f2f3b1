//! The status as text: a table if it fits, otherwise one paragraph for each profile.

use std::path::Path;

use anstyle::Style;
use stsd_client::{LastCaller, ListenerState, ProfileStatus, Status};

use super::{report::StatusReport, summary};
use crate::{
    config_fragments,
    http_listener::other_problems,
    term::{
        caller_name::CallerName,
        duration::format_duration,
        style::{BOLD, DIM, ERROR, Line, OK, PLAIN, WARN, wrap},
    },
};

/// Length of the bar of the remaining lifetime, in characters.
const BAR_CHARS: u64 = 10;

/// Width of a table without the names.
const FIXED_COLUMNS: usize = 53;

/// The beginning of the reason for the next attempt of a profile without a problem.
const ORDINARY_REASON: &str = "renewal near half of";

/// Indentation of the remarks below a profile.
const INDENT: (&str, &str) = ("  ", "    ");

/// Returns the first line. A lease does not report the daemon's process and configuration.
fn head(status: &Status) -> String {
    let version = &status.daemon_version;
    if status.pid == 0 {
        return format!("stsd {version}, a lease");
    }
    let (pid, up) = (status.pid, format_duration(status.uptime_seconds));
    let fragments = match config_fragments::paths(Path::new(&status.config_path)).len() {
        0 => String::new(),
        1 => " and 1 fragment".to_owned(),
        count => format!(" and {count} fragments"),
    };
    format!(
        "stsd {version}, pid {pid}, up {up}, configured by {}{fragments}",
        status.config_path
    )
}

/// Returns the lines of the status.
pub(super) fn lines(report: &StatusReport, width: Option<usize>) -> Vec<Line> {
    let status = &report.status;
    let head = head(status);
    let mut lines = wrap(PLAIN, ("", "  "), &head, width);
    if let Some(which) = &report.which_of_two {
        lines.extend(wrap(WARN, ("", "  "), which, width));
    }
    let failing = summary::has_failure(report);
    let style = if failing { ERROR } else { PLAIN };
    lines.extend(wrap(style, ("", "  "), &summary::line(report), width));
    if let Some(endpoint) = report.endpoint() {
        let text = format!("STS endpoint: {endpoint}");
        lines.extend(wrap(DIM, ("", "  "), &text, width));
    }
    lines.extend(http_problems(report, width));
    lines.extend(problems(report, width));
    lines.push(Line::default());
    let names = status.profiles.iter().map(|it| it.name.chars().count());
    let longest = names.max().unwrap_or(0).max(7);
    let in_columns = width.is_none_or(|width| longest + FIXED_COLUMNS <= width);
    if status.profiles.is_empty() {
        lines.push(Line::new(DIM, "no profiles that you may see"));
    } else if in_columns {
        lines.extend(titles(longest));
    }
    for profile in summary::in_order(&status.profiles) {
        if in_columns {
            lines.push(row(profile, longest));
        } else {
            lines.extend(paragraph(profile, width));
        }
        lines.extend(remarks(report, profile, width));
    }
    if report.lacks_audit {
        let remark = "this daemon is older than stsctl and does not report the last callers";
        lines.extend(wrap(DIM, ("", "  "), remark, width));
    }
    lines
}

/// Returns the two lines of titles, which say of which calls a number is.
fn titles(longest: usize) -> [Line; 2] {
    let line = |words: [&str; 6]| {
        let [name, remaining, next, calls, saved, served] = words;
        let text = format!(
            "{name:longest$}  {remaining:17}  {next:9}  {calls:>5}  {saved:>6}  {served:>6}"
        );
        Line::new(BOLD, text.trim_end())
    };
    [
        line(["", "", "NEXT", "STS", "CALLS", ""]),
        line([
            "PROFILE",
            "REMAINING",
            "ATTEMPT",
            "CALLS",
            "SAVED",
            "SERVED",
        ]),
    ]
}

/// Returns the problems of the HTTP endpoint that are not among the conditions.
fn http_problems(report: &StatusReport, width: Option<usize>) -> Vec<Line> {
    let Some(listener) = &report.http else {
        return Vec::new();
    };
    let style = match listener.state {
        ListenerState::NotConfigured | ListenerState::Listening => WARN,
        _ => ERROR,
    };
    let mut lines = Vec::new();
    let mut add = |style, text: &str| lines.extend(wrap(style, INDENT, text, width));
    let conditions = report.conditions.as_deref().unwrap_or_default();
    for problem in other_problems(listener, conditions) {
        add(style, &problem.message);
        add(PLAIN, &format!("hint: {}", problem.hint));
    }
    lines
}

/// Returns the problems of the daemon itself, and a tracer of its process.
fn problems(report: &StatusReport, width: Option<usize>) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |style, text: String| lines.extend(wrap(style, INDENT, &text, width));
    for it in report.problems() {
        let age = format_duration(it.age_seconds);
        add(ERROR, format!("{}, for {age}: {}", it.name, it.message));
        if !it.hint.is_empty() {
            add(PLAIN, format!("hint: {}", it.hint));
        }
    }
    let protections = report.status.protections.iter();
    for it in protections.filter(|it| it.name == "tracing" && !it.holds) {
        add(ERROR, format!("{}: {}", it.name, it.remark));
    }
    lines
}

fn row(profile: &ProfileStatus, longest: usize) -> Line {
    let (style, bar, left) = remaining(profile);
    let next = next(profile);
    Line::new(BOLD, format!("{:longest$}  ", profile.name))
        .with(style, format!("{:17}", format!("{bar}{left}")))
        .with(PLAIN, format!("  {next:9}"))
        .with(
            PLAIN,
            format!(
                "  {:>5}  {:>6}  {:>6}",
                profile.sts_calls, profile.calls_saved, profile.hand_outs
            ),
        )
}

fn paragraph(profile: &ProfileStatus, width: Option<usize>) -> Vec<Line> {
    let (style, bar, left) = remaining(profile);
    let mut lines = wrap(BOLD, ("", "  "), &profile.name, width);
    lines.push(
        Line::new(PLAIN, INDENT.0)
            .with(style, format!("{bar}{left}"))
            .with(PLAIN, format!(", next {}", next(profile))),
    );
    let counted = format!(
        "STS calls {}, saved {}, served {}",
        profile.sts_calls, profile.calls_saved, profile.hand_outs
    );
    lines.extend(wrap(PLAIN, INDENT, &counted, width));
    lines
}

/// Returns the bar of the remaining lifetime, its style, and the time as text.
fn remaining(profile: &ProfileStatus) -> (Style, String, String) {
    let failing = profile.last_failure.is_some();
    match (profile.remaining_seconds, profile.lifetime_seconds) {
        (Some(remaining), Some(length)) => {
            let style = if failing { WARN } else { OK };
            (
                style,
                bar(remaining, length) + " ",
                format_duration(remaining),
            )
        }
        _ if failing => (ERROR, String::new(), "none".to_owned()),
        _ => (DIM, String::new(), "none".to_owned()),
    }
}

fn next(profile: &ProfileStatus) -> String {
    match profile.next_attempt_seconds {
        Some(seconds) => format!("in {}", format_duration(seconds)),
        None => "on demand".to_owned(),
    }
}

/// Returns the remarks on a profile.
fn remarks(report: &StatusReport, profile: &ProfileStatus, width: Option<usize>) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |style, text: String| lines.extend(wrap(style, INDENT, &text, width));
    if !profile.role_arn.is_empty() {
        add(DIM, format!("role: {}", profile.role_arn));
    }
    let reason = &profile.next_attempt_reason;
    if profile.next_attempt_seconds.is_some() && !reason.starts_with(ORDINARY_REASON) {
        add(DIM, format!("next: {reason}"));
    }
    if let Some(caller) = report.last_caller(profile) {
        add(DIM, last_access(caller));
    }
    if let Some(last) = &profile.last_failure {
        let (failure, age) = (&last.failure, format_duration(last.age_seconds));
        let times = match last.in_a_row {
            0 | 1 => String::new(),
            times => format!(", {times} times in a row"),
        };
        add(
            ERROR,
            format!("failed {age} ago{times}: {}", failure.message),
        );
        add(PLAIN, format!("hint: {}", failure.hint));
    }
    if let Some(advice) = &profile.advice {
        add(WARN, format!("advice: {advice}"));
    }
    lines
}

fn last_access(caller: &LastCaller) -> String {
    let name = CallerName {
        uid: Some(caller.uid.into()),
        pid: caller.pid.map(Into::into),
        unit: caller.unit.as_deref(),
        user_unit: caller.user_unit.as_deref(),
        exe: caller.exe.as_deref(),
    };
    let how = match caller.asked.as_str() {
        "url" => ", by its URL",
        "watch" => ", which follows it",
        _ => "",
    };
    let age = format_duration(caller.age_seconds);
    format!("asked last: {age} ago by {}{how}", name)
}

/// Returns a bar with blocks for the remaining time, and dots for the rest.
fn bar(remaining: u64, length: u64) -> String {
    let full = (remaining * BAR_CHARS)
        .div_ceil(length.max(1))
        .min(BAR_CHARS) as usize;
    "█".repeat(full) + &"·".repeat(BAR_CHARS as usize - full)
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn lifetime_bar_is_empty_only_at_zero() {
        assert_eq!(bar(3600, 3600), "██████████");
        assert_eq!(bar(1, 3600), "█·········");
        assert_eq!(bar(0, 3600), "··········");
    }
}
