//! Errors of the configuration: file, line, key, and hint.

use std::process::Command;

use e2e::{TestEnv, UPLOAD, program};
use nix::sys::signal::Signal;

/// Asserts that `stsd --check` refuses a configuration with all of `words`, at `line`.
fn check(env: &TestEnv, profiles: &str, line: usize, words: &[&str]) {
    env.write_config(profiles);
    check_written(env, line, words);
}

fn check_written(env: &TestEnv, line: usize, words: &[&str]) {
    let output = env.daemon_command().arg("--check").output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    e2e::assert_no_secrets("stsd --check", complaint.as_bytes());
    assert_eq!(output.status.code(), Some(1), "{words:?}: {complaint}");
    let place = format!("config.toml:{line}:");
    for word in [place.as_str(), "hint"].iter().chain(words) {
        assert!(complaint.contains(word), "{word:?} is not in: {complaint}");
    }
}

#[test]
fn config_error_names_file_line_and_key() {
    let env = TestEnv::without_daemon(&[]);
    let with = |line: &str| format!("{UPLOAD}{line}\n");
    // Lines 1 to 4 are the endpoint and the source; the profile begins at line 5.
    check(
        &env,
        &with("colour = 1"),
        8,
        &["colour", "role_session_name"],
    );
    check(
        &env,
        &with("duration = \"14m\""),
        8,
        &["profile.oss-upload.duration", "15m to 12h"],
    );
    check(&env, &with("duration = 3600"), 8, &["duration", "string"]);
    check(
        &env,
        &with("role_session_name = \"a b\""),
        8,
        &["role_session_name", "A-Z"],
    );
    check(&env, &with("role_session_name = \"{who}\""), 8, &["{user}"]);
    check(&env, &with("external_id = \"?\""), 8, &["external_id"]);
    check(
        &env,
        &with("source_identity = \"acs:me\""),
        8,
        &["source_identity"],
    );
    check(
        &env,
        &with("policy_file = \"none.json\""),
        8,
        &["none.json", "cannot be read"],
    );
    check(
        &env,
        &UPLOAD.replace("acs:ram", "arn:aws"),
        7,
        &["role_arn", "acs:ram::"],
    );
    check(
        &env,
        &UPLOAD.replace("\"uploader\"", "\"nosuch\""),
        6,
        &["no source", "uploader"],
    );
    check(
        &env,
        &UPLOAD.replace("oss-upload]", "\"a b\"]"),
        5,
        &["a name is"],
    );
    check(
        &env,
        &UPLOAD.replace("oss-upload]", "\"a\\nb\\u001b[2J\"]"),
        5,
        &["profile.a b [2J: a name is"],
    );
    check(
        &env,
        &with("allow = [\"user:root\",\n  \"user:nosuch-user\"]"),
        9,
        &["profile.oss-upload.allow", "no user of that name", "getent"],
    );
    check(
        &env,
        &with("allow = [\"exe:/usr/bin/aliyun\"]"),
        8,
        &["profile.oss-upload.allow", "sandbox", "unit:"],
    );
    check(
        &env,
        &with("allow = []"),
        8,
        &["allow", "an empty list allows"],
    );
    check(
        &env,
        &with("allow = \"user:root\""),
        8,
        &["allow", "wrong type"],
    );
    check(&env, "", 1, &["no profile"]);
    check(&env, "[profile", 5, &["hint"]);

    let long = format!(
        "{{\"Version\":\"1\",\"Statement\":[],\"x\":\"{}\"}}",
        "y".repeat(2048)
    );
    env.write("long.json", &long, 0o600);
    check(
        &env,
        &with("policy_file = \"long.json\""),
        8,
        &["2048", "long.json"],
    );
    env.write("broken.json", "{", 0o600);
    check(
        &env,
        &with("policy_file = \"broken.json\""),
        8,
        &["broken.json", "JSON"],
    );
}

#[test]
fn sts_rate_outside_1_to_100_is_refused() {
    let env = TestEnv::without_daemon(&[]);
    for value in ["0", "101", "-1", "\"20\"", "1.5"] {
        let top = format!("{}sts_calls_per_second = {value}\n", env.endpoint());
        env.write_config_with(&top, UPLOAD);
        check_written(&env, 2, &["sts_calls_per_second"]);
    }
}

#[test]
fn key_file_with_loose_mode_or_bad_content_is_refused() {
    let env = TestEnv::without_daemon(&[]);
    let key = "access_key_id = \"LTAIx\"\naccess_key_secret = \"ExampleSecretOfNobody\"\n";
    env.write("uploader.key", key, 0o644);
    check(
        &env,
        UPLOAD,
        4,
        &["source.uploader.access_key_file", "0644", "chmod 0600"],
    );
    env.write("uploader.key", key, 0o640);
    check(&env, UPLOAD, 4, &["0640"]);
    env.write("uploader.key", "access_key_id = \"LTAIx\"\n", 0o600);
    check(&env, UPLOAD, 4, &["is not a key file"]);
    env.write(
        "uploader.key",
        "access_key_secret = ExampleSecretOfNobody\n",
        0o600,
    );
    check(&env, UPLOAD, 4, &["is not a key file"]);
    std::fs::remove_file(env.path("uploader.key")).unwrap();
    check(&env, UPLOAD, 4, &["uploader.key", "cannot be read"]);
}

#[test]
fn error_for_an_invalid_key_file_shows_the_format() {
    let env = TestEnv::without_daemon(&[]);
    let expected = "hint: a key file is a small text file with access_key_id = ";
    env.write("uploader.key", &"#".repeat(20_000), 0o600);
    check(&env, UPLOAD, 4, &["larger than 16384 bytes", expected]);
    env.write("uploader.key", "", 0o600);
    std::fs::write(env.path("uploader.key"), b"\xff\xfe\x00").unwrap();
    check(&env, UPLOAD, 4, &["UTF-8", expected]);
    std::fs::remove_file(env.path("uploader.key")).unwrap();
    nix::unistd::mkfifo(&env.path("uploader.key"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    check(&env, UPLOAD, 4, &["regular file", expected]);
}

#[test]
fn export_path_of_a_file_of_the_daemon_is_refused() {
    let env = TestEnv::without_daemon(&[]);
    for name in ["http.token", "stsd.sock", "http.sock"] {
        let path = env.path("run").join(name);
        let file = format!("[profile.oss-upload.file]\npath = {path:?}\n");
        let words = ["profile.oss-upload.file.path", "daemon's own"];
        check(&env, &format!("{UPLOAD}{file}"), 9, &words);
    }
}

#[test]
fn missing_config_error_names_path_and_variable() {
    let env = TestEnv::without_daemon(&[]);
    let output = env.daemon_command().output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        complaint.contains("config.toml") && complaint.contains("STSD_CONFIG"),
        "{complaint}"
    );
}

#[test]
fn failed_reload_keeps_the_running_config() {
    let env = TestEnv::start();
    let before = env.document(&["oss-upload"]);
    env.write_config(&UPLOAD.replace("acs:ram", "arn:aws"));
    let output = env.ctl(&["reload"]);
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        complaint.contains("config.toml:7: profile.oss-upload.role_arn"),
        "{complaint}"
    );
    assert_eq!(env.document(&["oss-upload"]), before);
    env.daemon().signal(Signal::SIGHUP);
    env.wait_until("the mistake is logged", || {
        let log = env.daemon_log();
        log.matches("stays in force").count() == 2
    });
    assert_eq!(env.document(&["oss-upload"]), before);
}

#[test]
fn daemon_refuses_an_unsafe_socket_directory() {
    use std::os::unix::fs::PermissionsExt as _;
    let env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let refused = |word: &str| {
        let output = env.daemon_command().output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{complaint}");
        assert!(complaint.contains(word), "{complaint}");
    };
    let mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(env.path("run"), permissions).unwrap();
    };
    mode(0o777);
    refused("0777");
    mode(0o700);
    env.write("run/stsd.sock", "a file", 0o600);
    refused("not a socket");
    let mut elsewhere = Command::new(program("stsd"));
    elsewhere
        .env_clear()
        .env("STSD_CONFIG", env.path("config.toml"));
    let output = elsewhere.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("XDG_RUNTIME_DIR"));
}

#[test]
fn fifo_as_policy_or_key_file_does_not_block_the_daemon() {
    let env = TestEnv::start();
    let before = env.document(&["oss-upload"]);
    for name in ["fifo.json", "uploader.key"] {
        let _ = std::fs::remove_file(env.path(name));
        nix::unistd::mkfifo(&env.path(name), nix::sys::stat::Mode::S_IRUSR).unwrap();
        env.write_config(&format!("{UPLOAD}policy_file = \"fifo.json\"\n"));
        let output = env.ctl(&["reload"]);
        assert_eq!(output.status.code(), Some(2));
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(complaint.contains("regular file"), "{complaint}");
        assert_eq!(env.document(&["oss-upload"]), before);
    }
}

#[test]
fn thousand_config_errors_fit_into_one_reply() {
    let env = TestEnv::start();
    let bad = |index| {
        UPLOAD
            .replace("oss-upload]", &format!("p{index}]"))
            .replace("acs:", "x:")
    };
    let profiles: String = (0..1000).map(bad).collect();
    env.write_config(&profiles);
    let output = env.ctl(&["reload"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the daemon's log has the rest"));
}

#[test]
fn config_error_shows_no_value_and_ignores_rust_log() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config(&format!(
        "keep = 'a\"ExampleSecretOfNobody\"b'\n{UPLOAD}keep_warm = 'a\"ExampleSecretOfNobody\"b'\n"
    ));
    std::fs::rename(env.path("config.toml"), env.path("config.secret")).unwrap();
    let mut check = env.daemon_command();
    check
        .env("STSD_CONFIG", env.path("config.secret"))
        .env("RUST_LOG", "off");
    let output = check.arg("--check").output().unwrap();
    e2e::assert_no_secrets("stsd --check", &output.stderr);
    assert!(String::from_utf8_lossy(&output.stderr).contains("config.secret:"));
}

#[test]
fn check_output_counts_profiles_with_singular_and_plural() {
    let env = TestEnv::without_daemon(&[]);
    let said = |profiles: &str| {
        env.write_config(profiles);
        let output = env.daemon_command().arg("--check").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(said(UPLOAD).ends_with(": 1 profile, no mistakes\n"));
    let two = UPLOAD.replace("oss-upload]", "other]") + UPLOAD;
    assert!(said(&two).ends_with(": 2 profiles, no mistakes\n"));
}
