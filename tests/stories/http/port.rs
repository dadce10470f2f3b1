//! The port of the HTTP endpoint: not configured, listening, or held by another process.

use std::fs;

use e2e::{Home, STRANGER, TestEnv, UPLOAD};
use nix::{sys::signal::Signal, unistd::geteuid};
use serde_json::Value;

use super::client::{ForeignListener, Url};

/// Returns an environment whose configuration names a port, and the port; `None`, and reports it,
/// where the test is not run by root.
fn env_with_port() -> Option<(TestEnv, u16)> {
    if !geteuid().is_root() {
        e2e::not_run("only root can become another user for this story");
        return None;
    }
    let env = TestEnv::without_daemon(&[]);
    let port = e2e::free_port();
    let top = format!("{}[http]\nlisten = \"127.0.0.1:{port}\"\n", env.endpoint());
    env.write_config_with(&top, UPLOAD);
    Some((env, port))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn http_listener(env: &TestEnv) -> Value {
    let status = text(env.ctl(&["status", "--json"]).stdout);
    let status: Value = serde_json::from_str(&status).unwrap();
    let listeners = status["listeners"].as_array().unwrap();
    let http = listeners.iter().find(|it| it["name"] == "http");
    http.unwrap().clone()
}

#[test]
fn port_held_by_another_user_is_named_with_uid_and_fix_everywhere() {
    let Some((mut env, port)) = env_with_port() else {
        return;
    };
    let foreign = ForeignListener::start(STRANGER, port);
    env.start_daemon();
    let home = Home::in_env(&env);
    let held = format!("127.0.0.1:{port} is held by uid {STRANGER}");
    let check = |what: &str, said: &str| {
        assert!(said.contains(&held), "{what}: {said}");
        assert!(said.contains("another port"), "{what}: {said}");
        assert!(!said.contains("add [http]"), "{what}: {said}");
    };
    let reload = env.ctl(&["reload"]);
    assert!(reload.status.success());
    check("reload", &text(reload.stderr));
    for line in [
        &["url", "oss-upload"][..],
        &["exec", "oss-upload", "--", "true"],
        &["env", "oss-upload"],
    ] {
        let output = env.ctl(line);
        assert_eq!(output.status.code(), Some(2), "{line:?}");
        check(line[0], &text(output.stderr));
    }
    check("status", &text(env.ctl(&["status"]).stdout));
    let http = http_listener(&env);
    assert_eq!(http["state"], "taken");
    assert_eq!(http["holder_uid"], STRANGER);
    check("status --json", &http["problems"].to_string());
    let doctor = env.ctl(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(9));
    let doctor = text(doctor.stdout);
    check("doctor", &doctor);
    assert_eq!(doctor.matches(&held).count(), 1, "{doctor}");
    let health = env.ctl(&["status", "--health"]);
    assert_eq!(health.status.code(), Some(9));
    assert!(text(health.stdout).contains(&held));
    let (code, said) = home.setup_check("oss2");
    assert_eq!(code, Some(1));
    check("setup --check", &said);
    let metrics = text(env.ctl(&["metrics"]).stdout);
    assert!(
        metrics.contains("stsd_listener_up{name=\"http\"} 0"),
        "{metrics}"
    );
    let log = env.daemon_log();
    assert_eq!(log.matches(&held).count(), 1, "{log}");

    drop(foreign);
    assert!(env.ctl(&["reload"]).status.success());
    assert_eq!(http_listener(&env)["state"], "listening");
    assert!(env.ctl(&["status", "--health"]).status.success());
    assert!(env.client().url("oss-upload").is_ok());
    let metrics = text(env.ctl(&["metrics"]).stdout);
    assert!(
        metrics.contains("stsd_listener_up{name=\"http\"} 1"),
        "{metrics}"
    );
}

#[test]
fn unconfigured_endpoint_is_told_apart_from_a_taken_port() {
    let env = TestEnv::start();
    let http = http_listener(&env);
    assert_eq!(http["state"], "not_configured");
    assert!(http["address"].is_null());
    assert!(text(env.ctl(&["status"]).stdout).contains("HTTP endpoint not configured"));
    let reload = env.ctl(&["reload"]);
    assert_eq!(text(reload.stderr), "");
    let url = env.ctl(&["url", "oss-upload"]);
    assert!(text(url.stderr).contains("add [http]"));
    let doctor = text(env.ctl(&["doctor"]).stdout);
    assert!(doctor.contains("HTTP endpoint: not configured"), "{doctor}");

    env.write_config_with_http(UPLOAD);
    assert_eq!(text(env.ctl(&["reload"]).stderr), "");
    let url = Url::of(&env, "oss-upload");
    assert_eq!(http_listener(&env)["state"], "listening");
    let status = text(env.ctl(&["status"]).stdout);
    assert!(
        status.contains(&format!("HTTP endpoint http://{}", url.authority())),
        "{status}"
    );
}

#[test]
fn url_known_before_another_user_held_the_port_is_refused_afterwards() {
    let Some((mut env, port)) = env_with_port() else {
        return;
    };
    env.start_daemon();
    let url = Url::of(&env, "oss-upload");
    env.daemon().signal(Signal::SIGKILL);
    env.wait_for_daemon_exit();
    let foreign = ForeignListener::start(STRANGER, port);
    env.start_daemon();
    drop(foreign);
    env.client().reload().unwrap();
    assert_eq!(url.get(url.path(), "").status, 403);
    let new = Url::of(&env, "oss-upload");
    assert_eq!(new.get(new.path(), "").status, 200);
    let replaced = format!("uid {STRANGER} has listened at 127.0.0.1:{port}");
    for line in [&["status"][..], &["doctor"]] {
        let said = text(env.ctl(line).stdout);
        assert!(said.contains(&replaced), "{line:?}: {said}");
    }
    assert!(env.daemon_log().contains("all URLs have been replaced"));
    // The new secrets are kept, and the remark ends with a rotation.
    env.daemon().signal(Signal::SIGKILL);
    env.wait_for_daemon_exit();
    env.start_daemon();
    assert_eq!(url.get(url.path(), "").status, 403);
    assert_eq!(new.get(new.path(), "").status, 200);
}

#[test]
fn port_held_by_the_own_user_does_not_replace_the_secrets() {
    let Some((mut env, port)) = env_with_port() else {
        return;
    };
    env.start_daemon();
    let url = Url::of(&env, "oss-upload");
    env.daemon().signal(Signal::SIGKILL);
    env.wait_for_daemon_exit();
    let own = ForeignListener::start(0, port);
    env.start_daemon();
    assert_eq!(http_listener(&env)["holder_uid"], 0);
    drop(own);
    env.client().reload().unwrap();
    assert_eq!(url.get(url.path(), "").status, 200);
}

#[test]
fn http_socket_of_another_daemon_is_a_lasting_problem() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let listener = std::os::unix::net::UnixListener::bind(env.path("run/http.sock")).unwrap();
    env.start_daemon();
    let holder = format!(
        "no HTTP socket: another daemon of uid {} is listening",
        geteuid()
    );
    for line in [&["status"][..], &["status", "--health"], &["doctor"]] {
        let said = text(env.ctl(line).stdout);
        assert!(said.contains(&holder), "{line:?}: {said}");
    }
    drop(listener);
    let _ = fs::remove_file(env.path("run/http.sock"));
}
