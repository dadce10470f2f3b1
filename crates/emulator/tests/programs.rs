//! The program `stsd-emulator`: its command line, its ready line, and its end.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;

const EMULATOR: &str = env!("CARGO_BIN_EXE_stsd-emulator");

fn emulator(arguments: &[&str]) -> Output {
    Command::new(EMULATOR)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn check_refused(arguments: &[&str], expected: &str) {
    // With `--exit-with-stdin` the program also stops if it does not refuse the arguments.
    let output = emulator(&[arguments, &["--exit-with-stdin"]].concat());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains(expected), "{stderr}");
    assert!(output.stdout.is_empty());
}

/// Waits a minute for a successful exit. A program that runs longer is killed, and fails the
/// test.
fn wait_for_exit(child: &mut Child) {
    for _ in 0..600 {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("the program did not stop within a minute");
}

fn ready(child: &mut Child) -> Value {
    let mut line = String::new();
    let out = child.stdout.as_mut().unwrap();
    BufReader::new(out).read_line(&mut line).unwrap();
    assert!(line.starts_with(r#"{"sts":"http://127.0.0.1:"#), "{line}");
    serde_json::from_str(&line).unwrap()
}

#[test]
fn program_stops_at_end_of_stdin() {
    let mut child = Command::new(EMULATOR)
        .args(["--session-life", "60s", "--exit-with-stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let addresses = ready(&mut child);
    let sts = addresses["sts"].as_str().unwrap();
    let address = sts.strip_prefix("http://").unwrap().parse().unwrap();
    let stats = kit::exchange(address, "GET", "/_emulator/stats", &[], b"");
    assert_eq!(stats.json()["sessions_live"], 0);
    drop(child.stdin.take());
    wait_for_exit(&mut child);
}

#[test]
fn program_stops_on_sigterm_and_sigint() {
    for signal in ["TERM", "INT"] {
        let mut child = Command::new(EMULATOR)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        ready(&mut child);
        let id = child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.unwrap().success());
        wait_for_exit(&mut child);
    }
}

#[test]
fn printed_account_model_is_accepted() {
    let world = emulator(&["--print-world"]).stdout;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("world.toml");
    std::fs::write(&path, &world).unwrap();
    let output = emulator(&["--world", path.to_str().unwrap(), "--exit-with-stdin"]);
    assert!(output.status.success());
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("\"oss\"")
    );
}

#[test]
fn invalid_command_line_is_refused() {
    check_refused(
        &["--sts", "0.0.0.0:0"],
        "0.0.0.0:0 is not a loopback address",
    );
    check_refused(
        &["--oss", "192.0.2.1:80"],
        "192.0.2.1:80 is not a loopback address",
    );
    check_refused(
        &["--oss", "localhost"],
        "is not an address like 127.0.0.1:0",
    );
    check_refused(&["--session-life", "soon"], "is not a duration like 60s");
    check_refused(&["--session-life", "0s"], "is not a duration like 60s");
    check_refused(
        &["--world", "/nonexistent"],
        "/nonexistent: cannot read the file: No such file",
    );
    check_refused(
        &["--imds", "192.0.2.1:80"],
        "192.0.2.1:80 is not a loopback address",
    );
    check_refused(
        &["--tls", "/dev/null/x"],
        "cannot write /dev/null/x/ca.pem: ",
    );
    check_refused(&["--oos", "127.0.0.1:0"], "--oos");
    let help = emulator(&["--help"]);
    assert!(help.status.success() && help.stdout.starts_with(b"stsd-emulator: "));
    let help = String::from_utf8(help.stdout).unwrap();
    for part in [
        "retry_after_millis",
        "half-body",
        "offset_seconds",
        "\"times\":2",
        "--tls",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
    let version = emulator(&["--version"]);
    assert_eq!(
        version.stdout,
        concat!("stsd-emulator ", env!("CARGO_PKG_VERSION"), "\n").as_bytes()
    );
}
