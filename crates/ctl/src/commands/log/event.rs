//! An event of the audit, as JSON or as a sentence.

use std::io;

use anyhow::Result;
use serde_json::Value;

use crate::{
    cli::Log,
    term::{
        caller_name::CallerName,
        duration::format_duration,
        stdout::print_json_text,
        style,
        style::{ERROR, Line, OK, PLAIN, WARN, wrap},
    },
};

/// One event of the audit, with the keys of the audit file.
#[derive(Debug)]
pub(super) struct Event(pub(super) Value);

/// Returns the events of the requested profiles among lines.
pub(super) fn matching<'a>(
    lines: &'a [String],
    typed: &'a Log,
) -> impl Iterator<Item = Event> + use<'a> {
    // A line that a full disk has truncated is skipped.
    let events = lines.iter().filter_map(|it| serde_json::from_str(it).ok());
    events
        .filter(Value::is_object)
        .map(Event)
        .filter(|event| event.is_of(&typed.profiles))
}

impl Event {
    pub(super) fn is_of(&self, profiles: &[String]) -> bool {
        let profile = self.text("profile").unwrap_or_default();
        profiles.is_empty() || profiles.iter().any(|it| it == profile)
    }

    /// Prints the event as JSON or as a sentence.
    pub(super) fn print(&self, as_json: bool) -> Result<()> {
        if as_json {
            return print_json_text(&self.0.to_string());
        }
        let width = style::terminal_width(&io::stdout());
        style::print_lines(&self.lines(width), width)
    }

    fn lines(&self, width: Option<usize>) -> Vec<Line> {
        let decision = self.text("decision").unwrap_or("?");
        let style = match decision {
            "ready" => OK,
            "short" => WARN,
            _ => ERROR,
        };
        let (time, sentence) = (self.time(), self.sentence());
        let head = Line::new(PLAIN, &time).with(style, format!("  {decision:7}"));
        let length = time.chars().count() + 11 + sentence.chars().count();
        if width.is_none_or(|width| length <= width) {
            return vec![head.with(PLAIN, format!("  {sentence}"))];
        }
        let mut lines = wrap(PLAIN, ("    ", "    "), &sentence, width);
        lines.insert(0, head);
        lines
    }

    /// Returns the event as a sentence.
    fn sentence(&self) -> String {
        let caller = CallerName {
            uid: self.number("uid"),
            pid: self.number("pid"),
            unit: self.text("unit"),
            user_unit: self.text("user_unit"),
            exe: self.text("exe"),
        };
        let mut parts = Vec::new();
        if let Some(count) = self.number("count") {
            parts.push(format!("{count} events more of"));
        }
        parts.extend(self.text("profile").map(|it| format!("{it}:")));
        parts.extend(
            self.text("asked")
                .filter(|it| *it != "several")
                .map(str::to_owned),
        );
        if self.number("count").is_none() {
            parts.push("by".to_owned());
        }
        parts.push(match caller.to_string() {
            unknown if unknown.is_empty() => "an unknown caller".to_owned(),
            name => name,
        });
        if let Some(pod) = self.text("pod") {
            parts.push(format!("in pod {pod}"));
        }
        if let Some(reason) = self.text("reason") {
            parts.push(format!("({})", reason.replace('_', " ")));
        }
        if let Some(lease) = self.number("lease") {
            parts.push(format!("lease {lease}"));
        }
        if let Some(left) = self.number("remaining_seconds") {
            parts.push(format!("for {} more", format_duration(left)));
        }
        parts.join(" ")
    }

    /// Returns the time in UTC, to the second.
    fn time(&self) -> String {
        let time = self.text("time").unwrap_or("?");
        let second: String = time.chars().take(19).collect();
        second.replace('T', " ") + "Z"
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.as_u64()
    }
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use serde_json::json;

    use super::Event;

    fn check(event: serde_json::Value, width: Option<usize>, expected: &[&str]) {
        let lines = Event(event).lines(width);
        let lines: Vec<_> = lines
            .iter()
            .map(|line| strip_str(&line.render(width)).to_string())
            .collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn audit_event_is_printed_as_a_sentence() {
        let ready = json!({"time": "2026-11-24T06:49:34.1Z", "decision": "ready",
            "asked": "credentials", "profile": "oss-upload", "uid": 1000, "pid": 4711,
            "unit": "user@1000.service", "user_unit": "backup.service", "remaining_seconds": 3204});
        let line = "2026-11-24 06:49:34Z  ready    oss-upload: credentials by backup.service \
                    (uid 1000 pid 4711) for 53m24s more";
        check(ready.clone(), None, &[line]);
        check(
            ready,
            Some(40),
            &[
                "2026-11-24 06:49:34Z  ready  ",
                "    oss-upload: credentials by",
                "    backup.service (uid 1000 pid 4711)",
                "    for 53m24s more",
            ],
        );
        let refused = json!({"time": "2026-11-24T06:49:44Z", "decision": "refused",
            "asked": "credentials", "reason": "denied_by_sts", "profile": "p", "uid": 1000});
        let line = "2026-11-24 06:49:44Z  refused  p: credentials by uid 1000 (denied by sts)";
        check(refused, None, &[line]);
        let sum = json!({"time": "2026-11-24T06:49:44Z", "decision": "refused",
            "asked": "several", "uid": 1000, "count": 4900});
        let line = "2026-11-24 06:49:44Z  refused  4900 events more of uid 1000";
        check(sum, None, &[line]);
    }
}
