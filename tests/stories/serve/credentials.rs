//! Credentials for programs: formats, errors, the cost in calls to STS, and the commands of a user.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command, time::Duration};

use e2e::{Action, OutputLog, TestEnv, UPLOAD, assert_output, program};
use nix::sys::signal::Signal;
use serde_json::Value;

#[test]
fn thousand_requests_in_one_session_cost_one_sts_call() {
    let env = TestEnv::with(&[], &format!("{UPLOAD}duration = \"15m\"\n"));
    let client = env.client();
    for _ in 0..1000 {
        let answer = client.credentials("oss-upload", Duration::ZERO, Duration::from_secs(60));
        assert!(!answer.unwrap().short);
    }
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
}

#[test]
fn each_format_is_one_document_and_the_default_is_the_union() {
    let env = TestEnv::start();
    let union = env.document(&["oss-upload"]);
    for (format, key) in [
        ("aliyun", "sts_token"),
        ("oss", "SecurityToken"),
        ("aws", "SessionToken"),
        ("uri", "SecurityToken"),
        ("json", "access_key_secret"),
    ] {
        let document = env.document(&["--format", format, "oss-upload"]);
        assert_eq!(document[key], union[key], "{format}");
        for (name, value) in document.as_object().unwrap() {
            let same = match name.as_str() {
                "LastUpdated" => continue,
                // The union has other names for the keys of the container endpoint and of `stsctl get`.
                "Token" | "security_token" => &union["SecurityToken"],
                name => &union[name],
            };
            assert_eq!(value, same, "{format} {name}");
        }
    }
    let script = env.shim(&["--format", "env", "oss-upload"]);
    assert!(
        script
            .stdout
            .starts_with(b"export ALIBABA_CLOUD_ACCESS_KEY_ID='STS.")
    );
}

#[test]
fn help_version_and_usage_errors_need_no_daemon() {
    let env = TestEnv::without_daemon(&[]);
    let version = env!("CARGO_PKG_VERSION");
    let mut log = OutputLog::new(&env).masking(version, "[VERSION]");
    let mut run = |title: &str, mut command: Command, code: i32| {
        // The width and the colours of the help.
        command.env_remove("COLUMNS").env_remove("CLICOLOR_FORCE");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{title}");
        let text = [output.stdout, output.stderr].concat();
        log.add(title, &String::from_utf8(text).unwrap());
    };
    for argument in ["--help", "--version"] {
        for name in ["stsd", "sts-shim", "stsctl"] {
            let mut command = Command::new(program(name));
            command.arg(argument);
            run(&format!("{name} {argument}"), command, 0);
        }
    }
    for arguments in [&["--colour"][..], &["--min-life", "30", "x"], &["a", "b"]] {
        let mut command = Command::new(program("sts-shim"));
        command.args(arguments);
        run(&format!("sts-shim {}", arguments.join(" ")), command, 2);
    }
    let command = env.shim_command(&["oss-upload"]);
    run("sts-shim oss-upload", command, 3);
    assert_output!("help_and_usage", log.text());
}

#[test]
fn unknown_profile_error_names_it_with_code_4() {
    let env = TestEnv::start();
    let output = env.shim(&["nosuch"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(output.stdout.is_empty());
    let mut log = OutputLog::new(&env);
    log.add(
        "sts-shim nosuch",
        &String::from_utf8(output.stderr).unwrap(),
    );
    let output = env.ctl(&["get", "nosuch"]);
    assert_eq!(output.status.code(), Some(4));
    log.add(
        "stsctl get nosuch",
        &String::from_utf8(output.stderr).unwrap(),
    );
    assert_output!("unknown_profile", log.text());
}

#[test]
fn socket_is_private_and_removed_on_exit() {
    let mut env = TestEnv::start();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(env.socket()), 0o600);
    assert_eq!(mode(env.path("run")), 0o700);
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
    assert!(!env.socket().exists());
}

#[test]
fn status_shows_session_counters_and_next_renewal() {
    let env = TestEnv::start();
    let read =
        || -> Value { serde_json::from_slice(&env.ctl(&["status", "--json"]).stdout).unwrap() };
    assert_eq!(read()["profiles"][0]["remaining_seconds"], Value::Null);
    let document = env.document(&["oss-upload"]);
    let profile = &read()["profiles"][0];
    assert_eq!(profile["access_key_id"], document["AccessKeyId"]);
    assert_eq!(profile["sts_calls"], 1);
    assert_eq!(profile["hand_outs"], 1);
    let (remaining, next) = (
        &profile["remaining_seconds"],
        &profile["next_attempt_seconds"],
    );
    assert!(
        (3500..=3600).contains(&remaining.as_u64().unwrap()),
        "{remaining}"
    );
    assert!((1500..2000).contains(&next.as_u64().unwrap()), "{next}");
    let table = String::from_utf8(env.ctl(&["status"]).stdout).unwrap();
    assert!(
        table.contains("oss-upload") && table.contains("███"),
        "{table}"
    );
}

#[test]
fn get_refresh_and_reload_work_from_stsctl() {
    let env = TestEnv::start();
    let get =
        || -> Value { serde_json::from_slice(&env.ctl(&["get", "oss-upload"]).stdout).unwrap() };
    let before = get();
    assert!(env.ctl(&["refresh", "oss-upload"]).status.success());
    let after = get();
    assert_ne!(before["access_key_id"], after["access_key_id"]);
    assert!(env.ctl(&["reload"]).status.success());
    assert_eq!(
        get(),
        after,
        "a reload that changes nothing keeps the session"
    );
    assert_eq!(env.emulator().calls(Action::AssumeRole), 2);
}

#[test]
fn keep_warm_profile_is_renewed_before_the_first_request() {
    let env = TestEnv::with(&[], &format!("{UPLOAD}keep_warm = true\n"));
    env.wait_until("the first renewal", || {
        env.emulator().calls(Action::AssumeRole) == 1
    });
}

#[test]
fn proxy_variables_do_not_apply_to_a_loopback_endpoint() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let mut command = env.daemon_command();
    // The port is closed, so a call through the proxy fails.
    command
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("http_proxy", "http://127.0.0.1:9");
    env.start_daemon_with(command);
    let _ = env.document(&["oss-upload"]);
}
