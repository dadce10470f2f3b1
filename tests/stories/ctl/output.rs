//! Output of the programs: a failed write is a failure, a closed pipe ends the program silently, and an
//! oversized request is a usage error.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{net::UnixListener, process::ExitStatusExt as _},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

use e2e::{TestEnv, UPLOAD, program};
use nix::{sys::signal::Signal, unistd::pipe};
use stsd_wire::{Credentials, Failure, FailureKind, MAX_MESSAGE, Message as _, Reply, SecretText};

/// Commands that print, each by other code.
const PRINTS: [&[&str]; 14] = [
    &["stsctl", "get", "oss-upload"],
    &["stsctl", "url", "oss-upload"],
    &["stsctl", "env", "oss-upload"],
    &["stsctl", "status"],
    &["stsctl", "status", "--json"],
    &["stsctl", "status", "--watch"],
    &["stsctl", "status", "--watch", "--json"],
    &["stsctl", "doctor"],
    &["stsctl", "setup"],
    &["stsctl", "man"],
    &["stsctl", "completions", "bash"],
    &["stsctl", "--help"],
    &["sts-shim", "oss-upload"],
    &["sts-shim", "--help"],
];

fn start_env() -> TestEnv {
    let mut env = TestEnv::without_daemon(&[]);
    let listen = "[http]\nlisten = \"127.0.0.1:0\"\n";
    env.write_config(&format!("{UPLOAD}{listen}"));
    env.start_daemon();
    let _ = env.document(&["oss-upload"]);
    env
}

/// Returns a command with the socket in its environment, behind the words of `before`.
fn command(env: &TestEnv, before: &[&str], line: &[&str]) -> Command {
    let program = program(line[0]).into_os_string();
    let mut words = before.iter().map(Into::into).chain([program]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(&line[1..]);
    command.env("STSD_SOCKET", env.socket());
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Answers every connection at a socket with one reply, until the story ends.
fn answer_always(socket: &Path, answer: Reply) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 64]).unwrap();
            for reply in [Reply::Hello { version: 1 }, answer.clone()] {
                stream.write_all(&reply.frame().unwrap()).unwrap();
            }
        }
    });
}

fn said(output: &Output) -> String {
    e2e::assert_no_secrets("stderr", &output.stderr);
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn unwritable_stdout_is_a_failure() {
    let env = start_env();
    let check = |line: &[&str], to: &str| {
        let redirected = format!("exec \"$0\" \"$@\" {to}");
        let output = command(&env, &["sh", "-c", &redirected], line).output();
        let output = output.unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{line:?} {to}: {said}");
        assert!(said.contains("cannot be written"), "{line:?}: {said}");
    };
    for line in PRINTS {
        check(line, "> /dev/full");
    }
    // An SDK must not take an empty output for a document.
    check(&["sts-shim", "oss-upload"], ">&-");
    // /dev/null accepts the output.
    let output = command(&env, &[], PRINTS[0]).stdout(Stdio::null()).output();
    assert!(output.unwrap().status.success());
}

#[test]
fn closed_stdout_pipe_ends_the_program_silently() {
    let env = start_env();
    for line in PRINTS {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut command = command(&env, &[], line);
        let output = command.stdout(Stdio::from(writer)).output().unwrap();
        let said = said(&output);
        // The default action of the signal.
        let signal = output.status.signal();
        assert_eq!(signal, Some(Signal::SIGPIPE as i32), "{line:?}: {said}");
        assert_eq!(said, "", "{line:?}");
    }
}

#[test]
fn partly_written_document_is_a_failure() {
    let env = start_env();
    let file = env.path("document.secret");
    // The limit is one block of 1,024 bytes.
    let append = format!("ulimit -f 1; exec \"$0\" \"$@\" >> {}", file.display());
    for line in [PRINTS[0], &["sts-shim", "oss-upload"]] {
        fs::write(&file, [b' '; 1000]).unwrap();
        let output = command(&env, &["bash", "-c", &append], line).output();
        let output = output.unwrap();
        let said = said(&output);
        assert!(!output.status.success(), "{line:?}: {said}");
        assert_eq!(file.metadata().unwrap().len(), 1024, "{line:?}");
    }
}

/// A long answer exceeds the static memory of the shim.
#[test]
fn largest_answer_is_printed_in_every_format() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("stsd.sock");
    let answer = Reply::Credentials(Credentials {
        access_key_id: "STS.EXAMPLE".to_owned(),
        access_key_secret: SecretText::from("ExampleSecret".to_owned()),
        // JSON doubles each quote; the buffer is for six bytes a character. dotenv refuses the token.
        security_token: SecretText::from("\"".repeat(MAX_MESSAGE - 100)),
        expiration_unix_seconds: 4_000_000_000,
        issued_unix_seconds: 3_999_996_400,
    });
    answer_always(&socket, answer);
    for format in "union aliyun oss aws uri env json".split(' ') {
        let mut shim = Command::new(program("sts-shim"));
        shim.arg("--socket").arg(&socket);
        let output = shim.args(["--format", format, "any"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{format}: {said}");
        let quotes = output.stdout.iter().filter(|byte| **byte == b'"').count();
        assert!(quotes >= MAX_MESSAGE - 100, "{format}: {quotes}");
    }
}

/// Each attempt needs memory, which the last one must still have.
#[test]
fn shim_reports_the_reason_after_many_busy_answers() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("stsd.sock");
    let busy = Reply::Failure(Failure {
        kind: FailureKind::Busy,
        message: "b".repeat(MAX_MESSAGE - 100),
        hint: String::new(),
    });
    answer_always(&socket, busy);
    let mut shim = Command::new(program("sts-shim"));
    shim.arg("--socket").arg(&socket);
    let output = shim.args(["--patience", "5s", "any"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(6),
        "{}",
        &said[..said.len().min(300)]
    );
    assert_eq!(said.lines().count(), 1);
}

#[test]
fn oversized_profile_name_is_a_usage_error() {
    let env = TestEnv::start();
    let name = "a".repeat(70_000);
    for line in [
        &["stsctl", "get", &name][..],
        &["stsctl", "refresh", &name],
        &["stsctl", "env", &name],
        &["sts-shim", &name],
    ] {
        let output = command(&env, &[], line).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{}: {said}", line[0]);
        assert!(said.contains("too long"), "{}: {said}", line[0]);
        assert!(said.len() < 500, "{}: {}", line[0], said.len());
    }
}

#[test]
fn missing_daemon_error_names_the_cause_once() {
    let output = Command::new(program("stsctl"))
        .args(["--socket", "/nonexistent/stsd.sock", "status"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    let cause =
        "no daemon at /nonexistent/stsd.sock: No such file or directory (os error 2) [no-daemon]\n";
    assert!(said.contains(cause), "{said}");
}
