//! `stsctl doctor`: the protections of the daemon's process, and a missing daemon.

use e2e::{Action, Fault, TestEnv};

#[test]
fn doctor_shows_protections_and_a_failing_profile() {
    let env = TestEnv::start();
    let _ = env.document(&["oss-upload"]);
    let doctor = || {
        let output = env.ctl(&["doctor"]);
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
        "secret pages",
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

    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::error("NoPermission"));
    assert_eq!(env.ctl(&["refresh", "oss-upload"]).status.code(), Some(7));
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
fn doctor_without_a_daemon_is_a_fault_with_a_fix() {
    let env = TestEnv::without_daemon(&[]);
    let output = env.ctl(&["doctor"]);
    assert_eq!(output.status.code(), Some(9));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.starts_with("fault ") && said.contains("start it"),
        "{said}"
    );
}
