//! `stsctl status --watch`: drawn in place, with signals and restarts of the daemon, and with the
//! terminal restored at the end.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use e2e::{Action, Process, Terminal, TestEnv, program, upload_profile};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{NARROW, WIDE, fits, refused};

#[test]
fn status_watch_shows_a_renewal_in_place() {
    let env = TestEnv::start();
    let mut terminal = env.ctl_at_terminal(WIDE, &["status", "--watch"]);
    terminal.wait_for("none");
    let _ = env.document(&["oss-upload"]);
    terminal.wait_for("██████████ 59m");
    assert!(env.ctl(&["refresh", "oss-upload"]).status.success());
    terminal.wait_until("two calls", |screen| {
        let row = |it: &String| it.starts_with("oss-upload") && it.contains("    2  ");
        screen.rows(0, WIDE.1).any(|it| row(&it))
    });
    // The screen is drawn in place.
    let check = |terminal: &Terminal| {
        let lines = terminal.lines();
        assert!(lines[0].starts_with("stsd "), "{lines:#?}");
        let titles = lines.iter().filter(|it| it.starts_with("oss-upload"));
        assert_eq!(titles.count(), 1, "{lines:#?}");
        assert!(terminal.screen().alternate_screen());
        assert!(terminal.screen().hide_cursor());
        fits(terminal);
    };
    check(&terminal);
    // Keys are not echoed.
    terminal.type_keys("xyz");
    terminal.resize(NARROW.0, NARROW.1);
    terminal.wait_for("calls 2, saved 0, served 1");
    check(&terminal);
    assert!(!terminal.screen().contents().contains("xyz"));

    env.emulator().inject_fault(Action::AssumeRole, refused());
    assert_eq!(env.ctl(&["refresh", "oss-upload"]).status.code(), Some(7));
    terminal.wait_for("hint: ");
    check(&terminal);

    // The terminal turns Ctrl-C into SIGINT.
    terminal.type_keys("\u{3}");
    assert_eq!(terminal.wait_for_exit(), -2, "SIGINT");
    assert!(terminal.is_restored());
    e2e::assert_no_secrets("the terminal", &terminal.bytes());
}

#[test]
fn stopped_status_watch_restores_the_terminal_until_sigcont() {
    let env = TestEnv::start();
    let mut terminal = env.ctl_at_terminal(WIDE, &["status", "--watch"]);
    terminal.wait_for("q leaves");
    terminal.signal(Signal::SIGTSTP);
    let stat = format!("/proc/{}/stat", terminal.id());
    let stopped = || fs::read_to_string(&stat).unwrap().contains(") T ");
    env.wait_until("it is stopped", stopped);
    env.wait_until("the terminal is free", || terminal.is_restored());
    terminal.signal(Signal::SIGCONT);
    terminal.wait_until("it is drawn again", vt100::Screen::alternate_screen);
    terminal.wait_for("oss-upload");
    terminal.signal(Signal::SIGTERM);
    assert_eq!(terminal.wait_for_exit(), -15);
    assert!(terminal.is_restored());
}

#[test]
fn status_watch_survives_a_stopped_and_a_hung_daemon() {
    let mut env = TestEnv::start();
    let mut terminal = env.ctl_at_terminal(WIDE, &["status", "--watch"]);
    terminal.wait_for("oss-upload");
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
    terminal.wait_for("no daemon at");
    env.start_daemon();
    terminal.wait_for("oss-upload");
    env.daemon().signal(Signal::SIGSTOP);
    terminal.wait_for("no answer for ");
    terminal.type_keys("q");
    assert_eq!(terminal.wait_for_exit(), 0);
    assert!(terminal.is_restored());
    env.daemon().signal(Signal::SIGCONT);
}

#[test]
fn status_watch_scrolls_lines_beyond_the_screen() {
    let profiles: String = (0..300)
        .map(|it| upload_profile(&format!("p{it:03}"), &[]))
        .collect();
    let env = TestEnv::with(&[], &profiles);
    let mut terminal = env.ctl_at_terminal(WIDE, &["status", "--watch"]);
    // A head of 6 lines, and 2 lines for each profile; the last row is the help.
    terminal.wait_for("q leaves; lines 1-23 of 606; arrows, PageUp, PageDown");
    terminal.wait_for("p000");
    fits(&terminal);
    let first_row = |terminal: &Terminal, text: &str| {
        let is_first = |screen: &vt100::Screen| screen.rows(0, WIDE.1).next().unwrap() == text;
        terminal.wait_until(text, is_first);
    };
    let mut scroll = |keys: &str, range: &str| {
        terminal.type_keys(keys);
        terminal.wait_for(&format!("lines {range} of 606"));
        fits(&terminal);
    };
    scroll("j", "2-24");
    scroll("\u{1b}[B\u{1b}OB", "4-26");
    scroll("k\u{1b}[A", "2-24");
    scroll("\u{1b}[6~", "24-46");
    scroll("\u{1b}[5~", "2-24");
    // The first line and the last one are limits.
    scroll("kkk", "1-23");
    scroll("\u{1b}[F", "584-606");
    scroll("jj\u{1b}[6~", "584-606");
    first_row(
        &terminal,
        "  role: acs:ram::100000000000001:role/oss-upload",
    );
    terminal.wait_for("p299");
    terminal.type_keys("\u{1b}[H");
    terminal.wait_for("lines 1-23 of 606");
    terminal.wait_for("p000");
    // More rows show more lines.
    terminal.resize(40, 40);
    terminal.wait_for("q leaves; lines 1-39 of ");
    fits(&terminal);
    terminal.type_keys("q");
    assert_eq!(terminal.wait_for_exit(), 0);
    let mut terminal = env.ctl_at_terminal(WIDE, &["status", "--watch", "p299", "p007"]);
    terminal.wait_for("p299");
    terminal.wait_for("p007");
    assert!(!terminal.screen().contents().contains("p008"));
    terminal.type_keys("q");
    assert_eq!(terminal.wait_for_exit(), 0);
    let output = env.ctl(&["status", "p007", "nosuch"]);
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn status_watch_without_a_terminal_prints_changes() {
    let env = TestEnv::start();
    let watching = |arguments: &[&str]| {
        let mut command = Command::new(program("stsctl"));
        command.arg("--socket").arg(env.socket()).args(arguments);
        command.stdin(Stdio::null());
        let file = env.path(&arguments.join(""));
        command.stdout(fs::File::create(&file).unwrap());
        (Process::start(command, &env.path("watching.log")), file)
    };
    let (text, text_file) = watching(&["status", "--watch"]);
    let (lines, lines_file) = watching(&["status", "--watch", "--json"]);
    let read = |file: &Path| fs::read_to_string(file).unwrap();
    env.wait_until("the first", || {
        read(&text_file).contains("none") && read(&lines_file).contains("none")
            || read(&lines_file).contains("null")
    });
    let _ = env.document(&["oss-upload"]);
    let tables = || read(&text_file).matches("PROFILE").count();
    let documents = || read(&lines_file).lines().count();
    env.wait_until("the last change", || {
        read(&text_file).contains("██")
            && tables() >= 2
            && read(&lines_file).contains("\"hand_outs\":1")
    });
    // Only times change after both have read the status; they read it once a second.
    thread::sleep(Duration::from_millis(2500));
    let before = (tables(), documents());
    thread::sleep(Duration::from_millis(2500));
    assert_eq!((tables(), documents()), before);
    drop((text, lines));
    let said = read(&text_file);
    assert!(!said.contains('\u{1b}'), "{said}");
    let said = read(&lines_file);
    assert!(documents() >= 2, "{said}");
    for line in said.lines() {
        let document: Value = serde_json::from_str(line).unwrap();
        assert_eq!(document["profiles"][0]["name"], "oss-upload");
    }
}
