//! `stsctl doctor`: the protections of the daemon's process, and a missing daemon.

use std::process::Command;

use e2e::{Action, Fault, TestEnv, UPLOAD};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

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
    // The last line is the summary.
    let mut findings = said.lines().rev().skip(1);
    let healthy = findings.all(|line| line.starts_with("ok "));
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

#[test]
fn doctor_finds_each_protection_that_the_kernel_refuses() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    if Command::new("strace").arg("-V").output().is_err() {
        return e2e::not_run("strace does not start; its package is strace");
    }
    let refusals = "-e trace=prctl,landlock_create_ruleset -e inject=prctl:error=EINVAL \
                    -e inject=landlock_create_ruleset:error=ENOSYS";
    let script = format!("ulimit -n 1000 && exec strace -qq -f -o /dev/null {refusals} \"$0\"");
    let daemon = env.daemon_command();
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(daemon.get_program());
    for (name, value) in daemon.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    env.start_daemon_with(command);
    let said = String::from_utf8(env.ctl(&["doctor"]).stdout).unwrap();
    for line in [
        "fault    tracing: not in force",
        "warning  new privileges: not in force",
        "warning  open files: not in force",
        "warning  writing files: not in force",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    // The daemon would survive the end of strace.
    let pid = env.client().status().unwrap().pid.cast_signed();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}
