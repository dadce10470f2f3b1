//! What the daemon's process has given up: seen by `stsctl doctor`, and tried from outside.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    process::Command,
};

use e2e::{Kit, UPLOAD};
use nix::{sys::signal::Signal, unistd::geteuid};

/// A user that nobody is.
const SOMEBODY: u32 = 61_234;

#[test]
fn the_doctor_finds_nothing_wrong_with_a_healthy_daemon_and_names_what_is_wrong_with_another() {
    let kit = Kit::start();
    let _ = kit.document(&["oss-upload"]);
    let doctor = || {
        let output = kit.ctl(&["doctor"]);
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, said) = doctor();
    for what in [
        "core dumps",
        "tracing",
        "new privileges",
        "profile oss-upload",
    ] {
        let line = said.lines().find(|line| line.contains(what));
        assert!(
            line.is_some_and(|it| it.starts_with("ok ")),
            "{what}: {said}"
        );
    }
    let healthy = said.lines().all(|line| line.starts_with("ok "));
    assert_eq!(code == Some(0), healthy, "{said}");

    kit.sts_fails(&serde_json::json!({"kind": "error", "code": "NoPermission"}));
    assert_eq!(kit.ctl(&["refresh", "oss-upload"]).status.code(), Some(7));
    let (code, said) = doctor();
    assert_eq!(code, Some(1));
    let line = said
        .lines()
        .find(|line| line.starts_with("warning  profile"));
    assert!(
        line.is_some_and(|it| it.contains("AliyunSTSAssumeRoleAccess")),
        "{said}"
    );
}

#[test]
fn the_doctor_says_that_there_is_no_daemon() {
    let kit = Kit::without_daemon(&[]);
    let output = kit.ctl(&["doctor"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.starts_with("fault ") && said.contains("start it"),
        "{said}"
    );
}

/// The user's own other processes: what they can ask the socket they may have, the memory
/// with the long-lived key they may not.
#[test]
fn another_process_of_the_same_user_cannot_read_the_daemons_memory() {
    if !geteuid().is_root() {
        e2e::not_run("only root can become another user");
        return;
    }
    let mut kit = Kit::without_daemon(&[]);
    kit.write_config(UPLOAD);
    for path in ["", "run", "config.toml", "uploader.key"] {
        chown(kit.path(path), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    }
    let mut command = kit.daemon_command();
    command.uid(SOMEBODY).gid(SOMEBODY);
    kit.start_unasked(command);
    kit.wait_until("the socket", || kit.socket().exists());
    let pid = kit.daemon().id();
    let as_the_user = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        let output = command.args(arguments).uid(SOMEBODY).gid(SOMEBODY).output();
        output.unwrap()
    };
    // The user's programs are served.
    let shim = e2e::program("sts-shim");
    let socket = kit.socket();
    let arguments = ["--socket", socket.to_str().unwrap(), "oss-upload"];
    let served = as_the_user(shim.to_str().unwrap(), &arguments);
    assert!(served.status.success(), "{served:?}");
    for file in ["mem", "maps", "environ", "fd"] {
        let path = format!("/proc/{pid}/{file}");
        let program = if file == "fd" { "ls" } else { "cat" };
        let attempt = as_the_user(program, &[&path]);
        let complaint = String::from_utf8_lossy(&attempt.stderr).into_owned();
        assert!(
            complaint.contains("Permission denied"),
            "{path}: {complaint}"
        );
    }
    // Without the protection the very same attempt succeeds.
    let mut sleeper = Command::new("sleep")
        .arg("60")
        .gid(SOMEBODY)
        .uid(SOMEBODY)
        .spawn()
        .unwrap();
    let (own, name) = (sleeper.id(), format!("/proc/{}/comm", sleeper.id()));
    kit.wait_until("the other program", || {
        fs::read_to_string(&name).is_ok_and(|it| it == "sleep\n")
    });
    let own = format!("/proc/{own}/environ");
    let control = as_the_user("cat", &[&own]);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert!(control.status.success(), "{control:?}");
}

#[test]
fn a_daemon_that_is_aborted_leaves_no_core_behind() {
    let mut kit = Kit::start();
    let _ = kit.document(&["oss-upload"]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", kit.daemon().id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let fields: Vec<_> = core.unwrap().split_whitespace().collect();
    assert_eq!(fields[4..6], ["0", "0"], "{core:?}");
    kit.daemon().signal(Signal::SIGABRT);
    assert_eq!(kit.daemon_ends(), None);
    let left = fs::read_dir(kit.path("")).unwrap().flatten();
    let cores = left.filter(|it| it.file_name().to_string_lossy().starts_with("core"));
    assert_eq!(cores.count(), 0);
}
