//! Every command ends with a hint: with a daemon that is down, hung, of another version or of another
//! user, and without a terminal.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use e2e::{STRANGER, TestEnv, UPLOAD, UnixUser, program};
use nix::unistd::geteuid;
use stsd_wire::{Failure, FailureKind, Message, Reply, Request, VERSION, message_length};

use super::stdout;

/// Every command with a request to the daemon that ends by itself.
const COMMANDS: [&[&str]; 16] = [
    &["status"],
    &["status", "--json"],
    &["status", "--watch"],
    &["status", "--health"],
    &["log"],
    &["metrics"],
    &["doctor"],
    &["get", "oss-upload", "--patience", "1s"],
    &["refresh", "oss-upload", "--patience", "1s"],
    &["url", "oss-upload"],
    &["url", "--rotate"],
    &["exec", "oss-upload", "--patience", "1s", "--", "true"],
    &["env", "oss-upload", "--static", "--patience", "1s"],
    &["reload"],
    &["setup", "aliyun", "oss-upload", "--check"],
    &[
        "lease",
        "oss-upload",
        "--ttl",
        "1m",
        "--patience",
        "1s",
        "--socket",
        "/nonexistent/x",
    ],
];

/// Runs every command at a socket, in parallel, and asserts that each ends with one of the codes and
/// with a hint.
#[track_caller]
fn all_end(socket: &Path, codes: &[i32], words: &str) {
    let running: Vec<_> = COMMANDS
        .iter()
        .map(|arguments| {
            let mut command = Command::new("timeout");
            command.arg("100").arg(program("stsctl"));
            command.arg("--socket").arg(socket).args(*arguments);
            command.stdin(Stdio::null());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            (arguments, command.spawn().unwrap())
        })
        .collect();
    for (arguments, child) in running {
        let output = child.wait_with_output().unwrap();
        let said = stdout(&output) + &String::from_utf8_lossy(&output.stderr);
        let code = output.status.code().unwrap();
        // A diagnosis has exit codes of its own.
        let diagnosis = matches!(arguments[0], "doctor" | "setup");
        let expected = if diagnosis {
            &[1, 2, 3, 8, 9][..]
        } else {
            codes
        };
        assert!(expected.contains(&code), "{arguments:?}: {code}: {said}");
        assert!(
            !said.contains("panicked") && !said.contains('\u{1b}'),
            "{said}"
        );
        if !diagnosis {
            assert!(said.contains("\nhint: "), "{arguments:?}: {said}");
            assert!(said.contains(words), "{arguments:?}: {said}");
        }
    }
}

/// Answers every connection at a socket, until the story ends.
fn impostor(path: &Path, answer: impl Fn(UnixStream) + Send + Sync + 'static) {
    let listener = UnixListener::bind(path).unwrap();
    let answer = std::sync::Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = std::sync::Arc::clone(&answer);
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
}

#[test]
fn without_a_daemon_every_command_ends_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("stsd.sock");
    all_end(&socket, &[3], "start it with `stsd`");
    // A socket without a listener.
    drop(UnixListener::bind(&socket).unwrap());
    all_end(&socket, &[3], "start it with `stsd`");
}

#[test]
fn with_a_hung_daemon_every_command_ends() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("stsd.sock");
    impostor(&socket, |stream| {
        thread::sleep(Duration::from_secs(600));
        drop(stream);
    });
    all_end(&socket, &[3], "did not answer in time");
}

#[test]
fn with_a_newer_daemon_every_command_asks_for_an_upgrade() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("stsd.sock");
    impostor(&socket, |mut stream| {
        let hello = Reply::Hello {
            version: VERSION + 1,
        };
        let _ = stream.write_all(&hello.frame().unwrap());
        let _ = stream.read_to_end(&mut Vec::new());
    });
    all_end(&socket, &[8], "upgrade the client");
}

#[test]
fn with_another_users_daemon_status_says_so() {
    if !geteuid().is_root() {
        e2e::not_run("only root can become another user for this story");
        return;
    }
    let env = TestEnv::start();
    // With a directory that others can enter, the daemon itself refuses.
    let mut codes = Vec::new();
    for mode in [0o700, 0o711] {
        for (place, mode) in [("", 0o711), ("run", mode)] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs::set_permissions(env.path(place), mode).unwrap();
        }
        let programs = tempfile::tempdir().unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(programs.path(), open).unwrap();
        fs::copy(program("stsctl"), programs.path().join("stsctl")).unwrap();
        let mut command = UnixUser::new(STRANGER).command(programs.path().join("stsctl"));
        command.arg("--socket").arg(env.socket()).arg("status");
        let output = command.output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains("another user's"), "{complaint}");
        codes.push(output.status.code());
    }
    assert_eq!(codes, [Some(3), Some(3)]);
}

#[test]
fn older_daemon_shows_its_status_to_a_newer_stsctl() {
    let env = TestEnv::start();
    let status = env.client().status().unwrap();
    let socket = env.path("older.sock");
    impostor(&socket, move |mut stream| {
        let mut said = Reply::Hello { version: VERSION }.frame().unwrap().to_vec();
        loop {
            let mut header = [0; 4];
            if stream.read_exact(&mut header).is_err() {
                return;
            }
            let mut message = vec![0; message_length(header).unwrap()];
            stream.read_exact(&mut message).unwrap();
            let reply = match Request::decode(&message).unwrap() {
                Request::Hello { .. } => continue,
                Request::Status { .. } => Reply::Status(status.clone()),
                _ => Reply::Failure(Failure {
                    kind: FailureKind::Malformed,
                    message: "the message cannot be read".into(),
                    hint: "the daemon speaks another version".into(),
                }),
            };
            said.extend_from_slice(&reply.frame().unwrap());
            stream.write_all(&said).unwrap();
            said.clear();
        }
    });
    let run = |arguments: &[&str]| {
        let mut command = Command::new(program("stsctl"));
        command.arg("--socket").arg(&socket).args(arguments);
        command.output().unwrap()
    };
    let output = run(&["status"]);
    let text = stdout(&output);
    assert!(
        output.status.success() && text.contains("oss-upload"),
        "{text}"
    );
    assert!(text.contains("this daemon is older than stsctl"), "{text}");
    let output = run(&["log"]);
    assert_eq!(output.status.code(), Some(8));
}

#[test]
fn without_terminal_and_stdin_no_command_hangs() {
    let env = TestEnv::with(&[], &format!("{UPLOAD}[http]\nlisten = \"127.0.0.1:0\"\n"));
    let _ = env.document(&["oss-upload"]);
    let for_ever = |it: &&&[&str]| it.contains(&"--watch") || it[0] == "lease";
    for arguments in COMMANDS.iter().filter(|it| !for_ever(it)) {
        for stdin in ["<&-", "</dev/null"] {
            let mut command = Command::new("timeout");
            command.args(["100", "sh", "-c", &format!("exec \"$@\" {stdin}"), "sh"]);
            command
                .arg(program("stsctl"))
                .arg("--socket")
                .arg(env.socket());
            let output = command
                .args(*arguments)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = stdout(&output) + &String::from_utf8_lossy(&output.stderr);
            assert_ne!(output.status.code(), Some(124), "{arguments:?} {stdin}");
            assert!(
                !said.contains('\u{1b}') && !said.contains("panicked"),
                "{said}"
            );
        }
    }
}
