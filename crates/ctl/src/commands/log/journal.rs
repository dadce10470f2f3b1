//! The events of the audit in systemd's journal, as `journalctl --output=json` prints them.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::event::Event;
use crate::{cli::Log, error::CliError};

/// The fields of an entry and the keys of an event. Other fields are not of the audit.
const TEXT_FIELDS: [(&str, &str); 10] = [
    ("STSD_DECISION", "decision"),
    ("STSD_ASKED", "asked"),
    ("STSD_PROFILE", "profile"),
    ("STSD_UNIT", "unit"),
    ("STSD_USER_UNIT", "user_unit"),
    ("STSD_POD", "pod"),
    ("STSD_EXE", "exe"),
    ("STSD_BOUND_BY", "bound_by"),
    ("STSD_ACCESS_KEY_ID", "access_key_id"),
    ("STSD_REQUEST_ID", "request_id"),
];
const NUMBER_FIELDS: [(&str, &str); 5] = [
    ("STSD_UID", "uid"),
    ("STSD_PID", "pid"),
    ("STSD_LEASE", "lease"),
    ("STSD_REMAINING_S", "remaining_seconds"),
    ("STSD_COUNT", "count"),
];

/// The unit of the entries, a field that only the journal can set.
#[derive(Debug)]
pub(super) enum JournalUnit {
    /// A unit of the system's manager.
    System(String),
    /// A unit of a user's manager.
    User(String),
}

/// Prints the events of a unit.
pub(super) fn follow(unit: &JournalUnit, typed: &Log) -> Result<()> {
    let mut child = match command(unit, typed).spawn() {
        Ok(child) => child,
        Err(error) => {
            return Err(CliError {
                text: format!("journalctl does not start: {error}"),
                hint: "it comes with systemd; or have the events in a file: [audit] file = \"…\""
                    .into(),
                exit_code: 1,
            }
            .into());
        }
    };
    let stdout = child.stdout.take().expect("stdout is piped");
    let shown = show(BufReader::new(stdout), typed);
    // Otherwise journalctl would run until its next write fails.
    let _ = child.kill();
    let _ = child.wait();
    shown
}

fn command(unit: &JournalUnit, typed: &Log) -> Command {
    let mut command = Command::new("journalctl");
    match unit {
        JournalUnit::System(name) => command.arg(format!("--unit={name}")),
        JournalUnit::User(name) => command.arg("--user").arg(format!("--user-unit={name}")),
    };
    command.args(["--output=json", "--all", "--quiet"]);
    command.arg(format!("--lines={}", typed.lines));
    if !typed.no_follow {
        command.arg("--follow");
    }
    command.arg("STSD_TARGET=audit");
    let profiles = typed.profiles.iter();
    command.args(profiles.map(|name| format!("STSD_PROFILE={name}")));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

fn show(lines: impl BufRead, typed: &Log) -> Result<()> {
    for line in lines.lines() {
        let line = line.context("journalctl cannot be read")?;
        if let Some(event) = serde_json::from_str(&line).ok().and_then(event) {
            event.print(typed.json)?;
        }
    }
    Ok(())
}

/// Returns the event of an entry; `None` for other entries.
fn event(entry: Map<String, Value>) -> Option<Event> {
    let mut event = Map::new();
    let micros: i64 = text(entry.get("__REALTIME_TIMESTAMP")?)?.parse().ok()?;
    let time = jiff::Timestamp::from_microsecond(micros).ok()?;
    event.insert("time".to_owned(), json!(time.to_string()));
    for (field, key) in TEXT_FIELDS {
        if let Some(text) = entry.get(field).and_then(text) {
            event.insert(key.to_owned(), json!(text));
        }
    }
    for (field, key) in NUMBER_FIELDS {
        let number = entry.get(field).and_then(text);
        if let Some(number) = number.and_then(|it| it.parse::<u64>().ok()) {
            event.insert(key.to_owned(), json!(number));
        }
    }
    event.contains_key("decision").then(|| Event(event.into()))
}

/// Returns the text of a field. journalctl prints a binary value as a list of bytes, and a repeated
/// field as a list of its values.
fn text(field: &Value) -> Option<String> {
    match field {
        Value::String(text) => Some(text.clone()),
        Value::Array(list) => {
            let byte = |it: &Value| it.as_u64().and_then(|it| u8::try_from(it).ok());
            let bytes: Option<Vec<u8>> = list.iter().map(byte).collect();
            bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::event;

    #[test]
    fn journal_entry_is_converted_to_an_audit_event() {
        let entry = json!({
            "__REALTIME_TIMESTAMP": "1795504174100000", "MESSAGE": "credentials served",
            "STSD_TARGET": "audit", "STSD_DECISION": "ready", "STSD_ASKED": "credentials",
            "STSD_PROFILE": "oss-upload", "STSD_UID": "1000", "STSD_PID": "4711",
            "STSD_EXE": [47, 120, 27], "STSD_REMAINING_S": "3204", "_PID": "1",
        });
        let event = event(entry.as_object().unwrap().clone()).unwrap();
        let expected = json!({
            "time": "2026-11-24T07:09:34.1Z", "decision": "ready", "asked": "credentials",
            "profile": "oss-upload", "uid": 1000, "pid": 4711, "exe": "/x\u{1b}",
            "remaining_seconds": 3204,
        });
        assert_eq!(event.0, expected);
    }

    #[test]
    fn journal_entry_without_audit_fields_is_skipped() {
        let entry = json!({"__REALTIME_TIMESTAMP": "1795504174100000", "MESSAGE": "started"});
        assert!(event(entry.as_object().unwrap().clone()).is_none());
    }
}
