//! A kernel interface that a sandbox withholds: `/proc`.

use std::process::{Command, Stdio};

use e2e::{TestEnv, UPLOAD};
use nix::sys::signal::Signal;

/// Returns the daemon's command as the last arguments of a shell script.
fn wrapped(env: &TestEnv, script: &str) -> Command {
    let daemon = env.daemon_command();
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(daemon.get_program());
    for (name, value) in daemon.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
}

#[test]
fn daemon_without_proc_serves_and_refuses_only_an_upgrade() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let script = "exec unshare --mount sh -c 'umount -l /proc && exec \"$0\"' \"$0\"";
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "umount", "-l", "/proc"]);
    let probe = probe.stdin(Stdio::null()).output();
    if !probe.is_ok_and(|it| it.status.success()) {
        return e2e::not_run("this user cannot unmount /proc in a namespace of its own");
    }
    env.start_daemon_with(wrapped(&env, script));
    assert!(env.document(&["oss-upload"])["access_key_id"].is_string());
    env.daemon().signal(Signal::SIGUSR2);
    env.wait_until("the refused upgrade", || {
        env.daemon_log().contains("/proc/self/exe cannot be read")
    });
    assert!(env.document(&["oss-upload"])["access_key_id"].is_string());
}
