//! Kernel interfaces that are missing: `/proc` in a sandbox, system calls on an older Linux.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use e2e::{Action, OldKernel, Process, TestEnv, UPLOAD, on_old_kernel};
use nix::sys::signal::Signal;
use rustix::{
    io::Errno,
    process::{PidfdFlags, getpid, pidfd_open},
};
use serde_json::Value;
use stsd_client::Client;

const NARROW: &str = r#"{"Version": "1", "Statement": [{"Effect": "Allow",
    "Action": "oss:GetObject", "Resource": "acs:oss:*:*:examplebucket/public/*"}]}"#;

const PATIENCE: Duration = Duration::from_secs(60);

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
fn stsd_on_linux_4_18_serves_reloads_upgrades_and_leases() {
    let kernel = OldKernel::Linux4_18;
    on_old_kernel(kernel, || {
        let missing = pidfd_open(getpid(), PidfdFlags::empty());
        assert_eq!(missing.unwrap_err(), Errno::NOSYS);
        serves_reloads_upgrades_and_leases();
    });
}

#[test]
fn stsd_on_linux_5_10_serves_reloads_upgrades_and_leases() {
    on_old_kernel(OldKernel::Linux5_10, || {
        pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        serves_reloads_upgrades_and_leases();
    });
}

/// Runs each part of the daemon that uses an interface of the kernel.
fn serves_reloads_upgrades_and_leases() {
    let env = TestEnv::with_http(&[], UPLOAD);
    assert!(env.daemon_log().contains("this kernel has no Landlock"));
    let document = env.document(&["oss-upload"]);
    let by_start_time = "bound_by=\"start time\"";
    env.wait_until("the audit", || env.daemon_log().contains(by_start_time));

    let url = env.client().url("oss-upload").unwrap().url;
    let by_url = minreq::get(url.expose()).send().unwrap();
    let by_url: Value = serde_json::from_slice(by_url.as_bytes()).unwrap();
    assert_eq!(by_url["AccessKeyId"], document["AccessKeyId"]);

    let reload = env.ctl(&["reload"]);
    assert_eq!(reload.status.code(), Some(0), "{reload:?}");
    assert_eq!(env.document(&["oss-upload"]), document);

    env.daemon().signal(Signal::SIGUSR2);
    env.wait_until("the new program", || {
        env.daemon_log().matches("is ready config=").count() == 2
    });
    assert_eq!(env.document(&["oss-upload"]), document);
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);

    env.write("narrow.json", NARROW, 0o600);
    let socket = env.path("lease.sock");
    let mut lease = env.ctl_command(&["lease", "oss-upload", "--ttl", "20m"]);
    lease.arg("--policy").arg(env.path("narrow.json"));
    lease
        .arg("--socket")
        .arg(&socket)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut lease = Process::start(lease, &env.path("lease.log"));
    assert!(lease.first_line().contains("leased at"));
    let leased = Client::at(socket).credentials("oss-upload", Duration::ZERO, PATIENCE);
    assert!(!leased.unwrap().short);

    let doctor = env.ctl(&["doctor", "--json"]);
    let findings: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let findings = findings.as_array().unwrap().iter();
    let not_ok = findings.filter(|it| it["verdict"] != "ok" && it["check"] != "lingering");
    let not_ok: Vec<_> = not_ok.map(|it| it["check"].as_str().unwrap()).collect();
    assert_eq!(not_ok, ["writing files"]);
}
