//! The two programs, run as a user runs them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use kit::{Cloud, UPLOAD, cloud};
use serde_json::Value;

const EMULATOR: &str = env!("CARGO_BIN_EXE_stsd-emulator");
const CLIENT: &str = env!("CARGO_BIN_EXE_stsd-oss-client");

fn emulator(arguments: &[&str]) -> Output {
    Command::new(EMULATOR)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn check_refused(arguments: &[&str], saying: &str) {
    // If it were not refused, it would stop at once and not stay.
    let output = emulator(&[arguments, &["--exit-with-stdin"]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(saying), "{said}");
    assert!(output.stdout.is_empty());
}

/// Waits ten seconds for a clean end; a program that stays is killed, and fails the test.
fn end(child: &mut Child) {
    for _ in 0..100 {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("it did not stop");
}

fn ready(child: &mut Child) -> Value {
    let mut line = String::new();
    let out = child.stdout.as_mut().unwrap();
    BufReader::new(out).read_line(&mut line).unwrap();
    assert!(line.starts_with(r#"{"sts":"http://127.0.0.1:"#), "{line}");
    serde_json::from_str(&line).unwrap()
}

#[test]
fn the_emulator_runs_until_its_input_ends() {
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
    end(&mut child);
}

#[test]
fn the_emulator_stops_when_told_to() {
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
        end(&mut child);
    }
}

#[test]
fn the_printed_world_can_be_read_again() {
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
fn a_command_line_that_makes_no_sense_is_refused() {
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
    check_refused(&["--session-life", "soon"], "is not a time like 60s");
    check_refused(&["--session-life", "0s"], "is not a time like 60s");
    check_refused(
        &["--world", "/nonexistent"],
        "/nonexistent: cannot read it: No such file",
    );
    check_refused(
        &["--imds", "192.0.2.1:80"],
        "192.0.2.1:80 is not a loopback address",
    );
    check_refused(&["--oos", "127.0.0.1:0"], "--oos");
    let help = emulator(&["--help"]);
    assert!(help.status.success() && help.stdout.starts_with(b"stsd-emulator: "));
    let version = emulator(&["--version"]);
    assert_eq!(
        version.stdout,
        concat!("stsd-emulator ", env!("CARGO_PKG_VERSION"), "\n").as_bytes()
    );
}

/// Runs the client with a credential process that prints `document`.
fn client(cloud: &Cloud, document: &str, words: &[&str], input: &[u8]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("document");
    std::fs::write(&path, document).unwrap();
    let mut child = Command::new(CLIENT)
        .args(["--endpoint", &cloud.emulator.oss_url()])
        .args(["--region", "cn-hongkong"])
        .args(["--credential-process", &format!("cat {}", path.display())])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A client that needs no input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// A cloud by the true clock, which is the one the client signs with.
fn living_cloud() -> Cloud {
    let mut cloud = cloud();
    let world = stsd_emulator::World::built_in();
    cloud.clock = stsd_emulator::Clock::system();
    cloud.emulator =
        stsd_emulator::Emulator::start(world, stsd_emulator::Options::default()).unwrap();
    cloud
}

#[test]
fn the_client_puts_gets_heads_lists_and_deletes() {
    let cloud = living_cloud();
    let session = cloud.session(UPLOAD, None);
    let document = format!(
        r#"{{"mode":"StsToken","AccessKeyId":"{}","AccessKeySecret":"{}","SecurityToken":"{}"}}"#,
        session.id,
        session.secret,
        session.token.as_deref().unwrap()
    );
    let run = |words: &[&str], input: &[u8]| {
        let output = client(&cloud, &document, words, input);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !said.contains(&session.secret) && !said.contains("EmulatedToken"),
            "{said}"
        );
        let out = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), out, said)
    };
    let key = "a b+c/é&?.txt";
    assert_eq!(run(&["put", "examplebucket", key], b"hello").0, 0);
    assert_eq!(run(&["get", "examplebucket", key], b"").1, "hello");
    assert!(
        run(&["head", "examplebucket", key], b"")
            .1
            .contains("content-length: 5\n")
    );
    assert_eq!(run(&["list", "examplebucket"], b"").1, format!("{key}\n"));
    assert_eq!(run(&["list", "examplebucket", "z"], b"").1, "");
    assert_eq!(run(&["delete", "examplebucket", key], b"").0, 0);
    let refused = |code: &str, message: &str| {
        (
            1,
            String::new(),
            format!("stsd-oss-client: {code}: {message}\n"),
        )
    };
    let missing = refused("NoSuchKey", "The specified key does not exist.");
    assert_eq!(run(&["get", "examplebucket", key], b""), missing);
    assert_eq!(run(&["head", "examplebucket", key], b""), missing);
    assert_eq!(run(&["put", "otherbucket", key], b"x").0, 1);
    let usage = run(&["move", "examplebucket", key], b"");
    assert_eq!(usage.0, 2);
}

#[test]
fn no_error_of_the_client_holds_a_secret() {
    let cloud = living_cloud();
    let session = cloud.session(UPLOAD, None);
    let token = session.token.as_deref().unwrap();
    let wrong = format!(
        r#"{{"AccessKeyId":"{}","AccessKeySecret":"MarkerSecret","SecurityToken":"{token}"}}"#,
        session.id
    );
    for (document, saying) in [
        (wrong.as_str(), "SignatureDoesNotMatch: "),
        ("MarkerSecret", "printed no JSON with AccessKeyId"),
        (
            r#"{"AccessKeyId":"MarkerSecret"}"#,
            "printed no JSON with AccessKeyId",
        ),
    ] {
        let output = client(&cloud, document, &["get", "examplebucket", "k"], b"");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains(saying), "{said}");
        assert!(
            !said.contains("MarkerSecret") && !said.contains("EmulatedToken"),
            "{said}"
        );
    }
}
