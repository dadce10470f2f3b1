//! A kernel interface that a sandbox withholds: `/proc`, and the credentials of a peer.

use std::{
    os::unix::net::UnixStream,
    process::{Command, Stdio},
};

use e2e::{TestEnv, UPLOAD};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

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

#[test]
fn refused_peer_credentials_are_one_error_in_the_log() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    if Command::new("strace").arg("-V").output().is_err() {
        return e2e::not_run("strace does not start; its package is strace");
    }
    let refusals = "-e trace=getsockopt -e inject=getsockopt:error=EPERM";
    let script = format!("exec strace -qq -f -o /dev/null {refusals} \"$0\"");
    env.spawn_daemon(wrapped(&env, &script));
    env.wait_until("the socket", || env.socket().exists());
    let said = "connections are closed: cannot identify the peer";
    env.wait_until("the error", || {
        let _ = UnixStream::connect(env.socket());
        env.daemon_log().contains(said)
    });
    for _ in 0..3 {
        let _ = UnixStream::connect(env.socket());
    }
    let log = env.daemon_log();
    assert_eq!(log.matches(said).count(), 1, "{log}");
    assert!(log.contains("SO_PEERCRED"), "{log}");
    // The daemon would survive the end of strace.
    let pid = env.daemon().id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    for child in children.split_whitespace() {
        let _ = kill(Pid::from_raw(child.parse().unwrap()), Signal::SIGKILL);
    }
}
