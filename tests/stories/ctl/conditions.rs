//! The lasting problems of the daemon: each command shows them from their beginning to their end.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use e2e::{Process, TestEnv, UPLOAD};
use nix::{sys::signal::Signal, unistd::geteuid};
use serde_json::Value;

/// Returns the exit code and the stdout of stsctl.
fn said(env: &TestEnv, arguments: &[&str]) -> (Option<i32>, String) {
    let output = env.ctl(arguments);
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

/// Returns the condition of that name in the status.
fn condition(env: &TestEnv, name: &str) -> Value {
    let (_, status) = said(env, &["status", "--json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    let all = status["conditions"].as_array().unwrap();
    let found = all.iter().find(|it| it["name"] == name);
    found.unwrap_or_else(|| panic!("{name}: {status}")).clone()
}

#[test]
fn refused_configuration_is_shown_until_a_reload_succeeds() {
    let env = TestEnv::start();
    let _ = env.document(&["oss-upload"]);
    let health = || said(&env, &["status", "--health"]);
    assert_eq!(health().0, Some(0));
    let metric = || {
        let (_, metrics) = said(&env, &["metrics"]);
        let mut lines = metrics.lines();
        let line = lines.find(|it| it.starts_with("stsd_config_last_reload_successful "));
        line.unwrap_or_else(|| panic!("{metrics}")).to_owned()
    };
    assert_eq!(metric(), "stsd_config_last_reload_successful 1");

    env.write_config("colour = 1\nshape = 2\n");
    env.daemon().signal(Signal::SIGHUP);
    let logged = "the running configuration stays in force";
    env.wait_until("it is logged", || env.daemon_log().contains(logged));
    env.wait_until("it is in the metrics", || {
        metric() == "stsd_config_last_reload_successful 0"
    });
    let refused = condition(&env, "configuration");
    assert_eq!(refused["holds"], false);
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.contains("config.toml:5: source.uploader.colour: "),
        "{message}"
    );
    let (code, text) = said(&env, &["status"]);
    assert_eq!(code, Some(0));
    for words in ["configuration, for", "the last reload was refused", "hint"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let (code, text) = health();
    assert_eq!(code, Some(9), "{text}");
    assert!(text.contains("the last reload was refused"), "{text}");
    let (_, json) = said(&env, &["status", "--health", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["healthy"], false, "{json}");
    assert_eq!(json["stale"], Value::Array(Vec::new()), "{json}");
    assert_eq!(json["problems"][0]["name"], "configuration", "{json}");
    let (code, text) = said(&env, &["doctor"]);
    assert_eq!(code, Some(9), "{text}");
    assert!(text.contains("fault    daemon's configuration: "), "{text}");
    // The daemon serves meanwhile.
    let _ = env.document(&["oss-upload"]);

    env.write_config(UPLOAD);
    assert!(env.ctl(&["reload"]).status.success());
    assert_eq!(metric(), "stsd_config_last_reload_successful 1");
    assert_eq!(condition(&env, "configuration")["holds"], true);
    assert_eq!(health().0, Some(0));
}

#[test]
fn lost_audit_lines_are_shown_until_a_line_is_written() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(&format!("{UPLOAD}[audit]\nfile = \"logs/audit.jsonl\"\n"));
    let logs = env.path("logs");
    fs::create_dir(&logs).unwrap();
    env.start_daemon();
    let _ = env.document(&["oss-upload"]);
    let audited = || fs::read_to_string(logs.join("audit.jsonl")).unwrap_or_default();
    assert_eq!(audited().lines().count(), 1);
    // A file that was removed is created again, in its directory.
    fs::remove_file(logs.join("audit.jsonl")).unwrap();
    let _ = env.document(&["oss-upload"]);
    assert_eq!(audited().lines().count(), 1);
    assert!(env.daemon_log().contains("was removed; created again"));
    assert_eq!(condition(&env, "audit_file")["holds"], true);
    assert_eq!(e2e::metric(&env, "stsd_audit_lines_lost_total"), 0.0);

    fs::remove_dir_all(&logs).unwrap();
    let _ = env.document(&["oss-upload"]);
    let lost = condition(&env, "audit_file");
    assert_eq!(lost["holds"], false);
    let message = lost["message"].as_str().unwrap();
    assert!(message.contains("audit lines are lost"), "{message}");
    assert!(lost["hint"].as_str().unwrap().contains("restart"), "{lost}");
    assert_eq!(said(&env, &["status", "--health"]).0, Some(9));
    let (_, text) = said(&env, &["doctor"]);
    assert!(text.contains("fault    daemon's audit file: "), "{text}");
    let failing = "stsd_condition_failing{condition=\"audit_file\"}";
    assert_eq!(e2e::metric(&env, failing), 1.0);
    assert_eq!(e2e::metric(&env, "stsd_audit_lines_lost_total"), 1.0);
}

#[test]
fn doctor_names_a_process_that_traces_the_daemon() {
    if !geteuid().is_root() {
        return e2e::not_run("only root can trace a daemon that forbids it");
    }
    let env = TestEnv::start();
    let doctor = || said(&env, &["doctor"]);
    assert!(doctor().1.contains("ok       tracing: "), "{}", doctor().1);
    let mut strace = std::process::Command::new("strace");
    strace.args(["-qq", "-o", "/dev/null", "-e", "trace=none", "-p"]);
    strace.arg(env.daemon().id().to_string());
    if std::process::Command::new("strace")
        .arg("-V")
        .output()
        .is_err()
    {
        return e2e::not_run("strace does not start; its package is strace");
    }
    let mut strace = Process::start(strace, &env.path("strace.log"));
    let words = format!("the process {} traces the daemon", strace.id());
    env.wait_until("the tracer", || doctor().1.contains(&words));
    let (code, text) = doctor();
    assert_eq!(code, Some(9));
    assert!(text.contains("fault    tracing: not in force"), "{text}");
    let (_, status) = said(&env, &["status"]);
    assert!(status.contains(&words), "{status}");
    strace.signal(Signal::SIGTERM);
    let _ = strace.wait();
    env.wait_until("its end", || doctor().1.contains("ok       tracing: "));
}

#[test]
fn tracer_that_was_attached_before_the_start_is_an_error() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let daemon = env.daemon_command();
    let mut strace = std::process::Command::new("strace");
    strace.args(["-qq", "-o", "/dev/null", "-e", "trace=none"]);
    strace.arg(daemon.get_program());
    for (name, value) in daemon.get_envs() {
        strace.env(name, value.unwrap_or_default());
    }
    if std::process::Command::new("strace")
        .arg("-V")
        .output()
        .is_err()
    {
        return e2e::not_run("strace does not start; its package is strace");
    }
    env.start_daemon_with(strace);
    let pid = env.client().status().unwrap().pid.cast_signed();
    let log = env.daemon_log();
    let error = log.lines().find(|it| it.contains(" ERROR "));
    assert!(
        error.is_some_and(|it| it.contains("traces the daemon")),
        "{log}"
    );
    // The daemon would survive the end of strace.
    let daemon = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(daemon, Signal::SIGKILL).unwrap();
}

#[test]
fn directory_that_other_users_can_write_to_is_shown_until_it_is_safe() {
    let env = TestEnv::start();
    let set_mode = |mode| {
        fs::set_permissions(env.path("run"), fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(0o777);
    let bound = Duration::from_secs(40);
    env.wait_within(bound, "the condition", || {
        condition(&env, "socket")["holds"] == false
    });
    let problem = condition(&env, "socket");
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains("0777"), "{message}");
    assert!(env.daemon_log().contains(message));
    set_mode(0o700);
    env.wait_within(bound, "its end", || {
        condition(&env, "socket")["holds"] == true
    });
}
