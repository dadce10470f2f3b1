//! The programs in `examples/`, exactly as they stand: they outlive their credentials.

use std::{
    fs,
    io::{BufRead as _, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use e2e::{Process, clients};

use crate::sdk_kit::{at_home, by_exec, held, world};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(name)
}

/// Gives an example lines, through three rotations, and finds each of them in the bucket.
fn keeps_lines(mut command: Command) {
    let kit = world(&["--session-life", "8s"]);
    at_home(&kit, &mut command);
    by_exec(&kit, &mut command);
    command.env("OSS_ENDPOINT", kit.oss());
    command.env("OSS_REGION", "cn-hongkong");
    command.env("OSS_BUCKET", "examplebucket");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = Process::start(command, &kit.path("example.log"));
    let (mut lines, mut kept) = process.conversation();
    for number in 0..4 {
        writeln!(lines, "line {number}").unwrap();
        let mut key = String::new();
        kept.read_line(&mut key).unwrap();
        let log = fs::read_to_string(kit.path("example.log")).unwrap();
        assert_eq!(key, format!("lines/{number}\n"), "{log}");
        let found = kit.oss_with("oss-upload", &["get", "examplebucket", key.trim()], "");
        assert_eq!(found, Ok(format!("line {number}\n")));
        let before = held(&kit);
        kit.wait_until("a rotation", || held(&kit) != before);
    }
    drop(lines);
    assert_eq!(process.wait(), Some(0), "it ends with its input");
    assert_eq!(kit.calls("oss:PutObject"), 4);
}

fn python(name: &str) -> Command {
    let mut command = Command::new(clients().join("python/bin/python"));
    command.arg(example("python").join(name));
    command
}

#[test]
fn oss2_keeps_lines() {
    keeps_lines(python("upload_oss2.py"));
}

#[test]
fn alibabacloud_oss_v2_keeps_lines() {
    keeps_lines(python("upload_oss_v2.py"));
}

#[test]
fn ali_oss_keeps_lines() {
    // Modules are looked up beside the script.
    let place = tempfile::tempdir().unwrap();
    let script = place.path().join("upload_ali_oss.mjs");
    fs::copy(example("node/upload_ali_oss.mjs"), &script).unwrap();
    symlink(
        clients().join("node/node_modules"),
        place.path().join("node_modules"),
    )
    .unwrap();
    let mut command = Command::new("node");
    command.arg(script);
    keeps_lines(command);
}
