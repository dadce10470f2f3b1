//! `stsctl log`: the events of the audit as they happen.

use std::fs;

use e2e::{TestEnv, UPLOAD, upload_profile};
use serde_json::Value;

use super::{NARROW, colours, fits, stdout};

#[test]
fn log_shows_new_events_and_follows_a_moved_file() {
    let profiles =
        UPLOAD.to_owned() + &upload_profile("other", &[]) + "[audit]\nfile = \"audit.jsonl\"\n";
    let env = TestEnv::with(&[], &profiles);
    let _ = env.document(&["other"]);
    let _ = env.document(&["oss-upload"]);
    let mut terminal = env.ctl_at_terminal((24, 120), &["log", "oss-upload"]);
    terminal.wait_for("ready");
    let events =
        |screen: &vt100::Screen| screen.contents().matches("oss-upload: credentials").count();
    assert_eq!(events(&terminal.screen()), 1);
    let _ = env.document(&["other"]);
    let _ = env.document(&["oss-upload"]);
    terminal.wait_until("the next one", |screen| events(screen) == 2);
    fs::rename(env.path("audit.jsonl"), env.path("audit.jsonl.1")).unwrap();
    env.client().reload().unwrap();
    let _ = env.document(&["oss-upload"]);
    terminal.wait_until("one in the new file", |screen| events(screen) == 3);
    assert!(!terminal.screen().contents().contains("other"));
    assert!(colours(&terminal).contains(&vt100::Color::Idx(2)));
    terminal.type_keys("\u{3}");
    assert_eq!(terminal.wait_for_exit(), -2);
    assert!(terminal.is_restored());

    // A narrow terminal folds the lines; JSON has one line for each event.
    let old = env.path("audit.jsonl.1");
    let old = ["log", "--no-follow", "--file", old.to_str().unwrap()];
    let mut terminal = env.ctl_at_terminal(NARROW, &old);
    assert_eq!(terminal.wait_for_exit(), 0);
    fits(&terminal);
    terminal.wait_for("    other: credentials by");
    let output = env.ctl(&[&old[..], &["--json", "-n", "2"]].concat());
    let events: Vec<Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let profiles: Vec<_> = events
        .iter()
        .map(|it| it["profile"].as_str().unwrap())
        .collect();
    assert_eq!(profiles, ["other", "oss-upload"]);
    let output = env.ctl(&["log", "--file", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn log_without_an_audit_file_names_the_fix() {
    let env = TestEnv::start();
    let output = env.ctl(&["log"]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaint.contains("hint: ") && complaint.contains("[audit]"),
        "{complaint}"
    );
}
