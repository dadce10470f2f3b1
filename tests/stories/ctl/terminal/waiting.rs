//! The line that says what a request for credentials waits for: once, and at a terminal only.

use std::process::Command;

use e2e::{Action, Fault, Terminal, TestEnv, program, upload_profile};

use super::WIDE;

/// Runs a command at a terminal to its end, which is a failure for want of credentials, and returns
/// the lines that say what it waited for.
fn waits(env: &TestEnv, line: &[&str]) -> Vec<String> {
    let mut terminal = env.ctl_at_terminal(WIDE, line);
    terminal.wait_for("waiting for ");
    assert_eq!(terminal.wait_for_exit(), 6, "{line:?}");
    let lines = terminal.lines().into_iter();
    lines.filter(|it| it.contains("waiting for ")).collect()
}

#[test]
fn commands_say_once_which_host_has_not_answered() {
    // A profile of its own for each command: the daemon ends a call after ten seconds.
    let names = ["get", "exec", "env"].map(|it| [it.to_owned(), format!("{it}-in-a-pipe")]);
    let profiles = names.iter().flatten().map(|it| upload_profile(it, &[]));
    let env = TestEnv::with_http(&[], &profiles.collect::<String>());
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    let sts_url = env.emulator().sts_url();
    let host = sts_url.strip_prefix("http://").unwrap();
    for [name, in_a_pipe] in &names {
        let program: &[&str] = if name == "exec" { &["--", "true"] } else { &[] };
        let line = |profile| [&[name.as_str(), profile, "--patience", "4s"][..], program].concat();
        let reason = format!("{name}: STS at {host} has not answered yet");
        let expected = format!("stsctl: waiting for credentials of {reason}");
        assert_eq!(waits(&env, &line(name)), [expected]);
        // Without a terminal there is no such line.
        let output = env.ctl(&line(in_a_pipe));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(6), "{said}");
        assert!(!said.contains("waiting"), "{said}");
    }
}

#[test]
fn command_without_a_daemon_says_that_it_waits_for_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(program("stsctl"));
    let socket = directory.path().join("stsd.sock");
    command.arg("--socket").arg(&socket);
    command.args(["get", "oss-upload", "--patience", "4s"]);
    let mut terminal = Terminal::start(&command, WIDE);
    terminal.wait_for("stsctl: waiting for the daemon: no daemon at ");
    assert_eq!(terminal.wait_for_exit(), 3);
}
