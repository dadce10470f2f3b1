//! Errors of the configuration: file, line, key, and hint.

use std::{fs, process::Command};

use e2e::{OutputLog, TestEnv, UPLOAD, assert_output, program};
use nix::sys::signal::Signal;

/// The errors of several configurations.
struct Errors<'a> {
    env: &'a TestEnv,
    log: OutputLog,
}

impl<'a> Errors<'a> {
    fn new(env: &'a TestEnv) -> Self {
        Self {
            env,
            log: OutputLog::new(env),
        }
    }

    /// Adds the error of profiles, and asserts its line.
    #[track_caller]
    fn add(&mut self, title: &str, profiles: &str, line: usize) {
        self.env.write_config(profiles);
        self.add_written(title, line);
    }

    /// Adds the error of a line at the end of the profile.
    #[track_caller]
    fn add_key(&mut self, key: &str, line: usize) {
        self.add(key, &format!("{UPLOAD}{key}\n"), line);
    }

    /// Adds the error of the written configuration, and asserts its line.
    #[track_caller]
    fn add_written(&mut self, title: &str, line: usize) {
        let stderr = self.env.check_error();
        let place = format!("config.toml:{line}:");
        assert!(stderr.contains(&place), "{place} is not in: {stderr}");
        self.log.add(title, &stderr);
    }
}

#[test]
fn config_error_names_file_line_and_key() {
    let env = TestEnv::without_daemon(&[]);
    let mut errors = Errors::new(&env);
    // Lines 1 to 4 are the endpoint and the source; the profile begins at line 5.
    errors.add_key("colour = 1", 8);
    errors.add_key("duration = \"14m\"", 8);
    errors.add_key("duration = 3600", 8);
    errors.add_key("role_session_name = \"a b\"", 8);
    errors.add_key("role_session_name = \"{who}\"", 8);
    errors.add_key("external_id = \"?\"", 8);
    errors.add_key("source_identity = \"acs:me\"", 8);
    errors.add_key("policy_file = \"none.json\"", 8);
    errors.add(
        "acs:ram -> arn:aws",
        &UPLOAD.replace("acs:ram", "arn:aws"),
        7,
    );
    errors.add(
        "\"uploader\" -> \"nosuch\"",
        &UPLOAD.replace("\"uploader\"", "\"nosuch\""),
        6,
    );
    errors.add(
        "oss-upload] -> \"a b\"]",
        &UPLOAD.replace("oss-upload]", "\"a b\"]"),
        5,
    );
    errors.add(
        "oss-upload] -> \"a\\nb\\u001b[2J\"]",
        &UPLOAD.replace("oss-upload]", "\"a\\nb\\u001b[2J\"]"),
        5,
    );
    errors.add_key("allow = [\"user:root\",\n  \"user:nosuch-user\"]", 9);
    errors.add_key("allow = [\"exe:/usr/bin/aliyun\"]", 8);
    errors.add_key("allow = []", 8);
    errors.add_key("allow = \"user:root\"", 8);
    errors.add("no profile", "", 5);
    errors.add("[profile", "[profile", 5);

    let long = format!(
        "{{\"Version\":\"1\",\"Statement\":[],\"x\":\"{}\"}}",
        "y".repeat(2048)
    );
    env.write("long.json", &long, 0o600);
    errors.add_key("policy_file = \"long.json\"", 8);
    env.write("broken.json", "{", 0o600);
    errors.add_key("policy_file = \"broken.json\"", 8);
    assert_output!("keys", errors.log.text());
}

#[test]
fn sts_rate_outside_1_to_100_is_refused() {
    let env = TestEnv::without_daemon(&[]);
    let mut errors = Errors::new(&env);
    for value in ["0", "101", "-1", "\"20\"", "1.5"] {
        let top = format!("{}sts_calls_per_second = {value}\n", env.endpoint());
        env.write_config_with(&top, UPLOAD);
        errors.add_written(value, 2);
    }
    assert_output!("sts_rate", errors.log.text());
}

#[test]
fn key_file_with_loose_mode_or_bad_content_is_refused() {
    let env = TestEnv::without_daemon(&[]);
    let mut errors = Errors::new(&env);
    let key = "access_key_id = \"LTAIx\"\naccess_key_secret = \"ExampleSecretOfNobody\"\n";
    env.write("uploader.key", key, 0o644);
    errors.add("mode 0644", UPLOAD, 4);
    env.write("uploader.key", key, 0o640);
    errors.add("mode 0640", UPLOAD, 4);
    env.write("uploader.key", "access_key_id = \"LTAIx\"\n", 0o600);
    errors.add("no access_key_secret", UPLOAD, 4);
    env.write(
        "uploader.key",
        "access_key_secret = ExampleSecretOfNobody\n",
        0o600,
    );
    errors.add("no access_key_id", UPLOAD, 4);
    env.write(
        "uploader.key",
        "\u{feff}AccessKey ID,AccessKey Secret\r\nLTAIx,ExampleSecretOfNobody\r\n",
        0o600,
    );
    errors.add("the console's CSV", UPLOAD, 4);
    env.write("uploader.key", &key.replace("LTAIx", "STS.x"), 0o600);
    errors.add("the key of a session", UPLOAD, 4);
    std::fs::remove_file(env.path("uploader.key")).unwrap();
    errors.add("no key file", UPLOAD, 4);
    assert_output!("key_file", errors.log.text());
}

#[test]
fn error_for_an_invalid_key_file_shows_the_format() {
    let env = TestEnv::without_daemon(&[]);
    let mut errors = Errors::new(&env);
    env.write("uploader.key", &"#".repeat(20_000), 0o600);
    errors.add("20,000 bytes", UPLOAD, 4);
    env.write("uploader.key", "", 0o600);
    std::fs::write(env.path("uploader.key"), b"\xff\xfe\x00").unwrap();
    errors.add("no UTF-8", UPLOAD, 4);
    std::fs::remove_file(env.path("uploader.key")).unwrap();
    nix::unistd::mkfifo(&env.path("uploader.key"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    errors.add("a FIFO", UPLOAD, 4);
    assert_output!("key_file_format", errors.log.text());
}

#[test]
fn export_path_of_a_file_of_the_daemon_is_refused() {
    let env = TestEnv::without_daemon(&[]);
    let mut errors = Errors::new(&env);
    fs::create_dir_all(env.path("state/stsd")).unwrap();
    for name in [
        "run/http.secret",
        "run/http.token",
        "run/stsd.sock",
        "run/http.sock",
        "state/stsd/http.secret",
    ] {
        let path = env.path(name);
        let file = format!("[profile.oss-upload.file]\npath = {path:?}\n");
        errors.add(name, &format!("{UPLOAD}{file}"), 9);
    }
    assert_output!("export_path", errors.log.text());
}

#[test]
fn missing_config_error_names_path_and_variable() {
    let env = TestEnv::without_daemon(&[]);
    let output = env.daemon_command().output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        complaint.contains("config.toml: cannot be read") && complaint.contains("STSD_CONFIG"),
        "{complaint}"
    );
}

/// unix(7): `sun_path` has 108 bytes, the NUL included.
#[test]
fn socket_path_that_is_too_long_is_refused_with_its_limit() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let directory = env.path("run").display().to_string();
    let path = |length: usize| format!("{directory}/{}", "s".repeat(length - directory.len() - 1));
    let limit = "the path has 108 bytes, a socket's at most 107";

    let output = env
        .daemon_command()
        .env("STSD_SOCKET", path(108))
        .output()
        .unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        complaint.contains(limit) && complaint.contains("STSD_SOCKET"),
        "{complaint}"
    );
    let status = |length: usize| {
        let mut command = Command::new(program("stsctl"));
        let output = command.args(["--socket", &path(length), "status"]).output();
        output.unwrap()
    };
    let output = status(108);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(
        complaint.contains(limit) && complaint.contains("shorter path"),
        "{complaint}"
    );

    let mut command = env.daemon_command();
    command.env("STSD_SOCKET", path(107));
    env.spawn_daemon(command);
    env.wait_until("the daemon answers at the longest path", || {
        status(107).status.success()
    });
}

#[test]
fn lease_socket_with_a_long_path_is_refused_with_its_limit() {
    let env = TestEnv::start();
    let path = format!("{}/{}", env.path("run").display(), "s".repeat(108));
    env.write(
        "narrow.json",
        "{\"Version\": \"1\", \"Statement\": [{\"Effect\": \"Allow\", \
         \"Action\": \"oss:GetObject\", \"Resource\": \"*\"}]}",
        0o600,
    );
    let policy = env.path("narrow.json").display().to_string();
    let output = env.ctl(&[
        "lease",
        "oss-upload",
        "--policy",
        &policy,
        "--socket",
        &path,
        "--ttl",
        "20m",
    ]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(complaint.contains("has at most 107"), "{complaint}");
}

#[test]
fn relative_socket_path_is_below_the_working_directory() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let mut command = env.daemon_command();
    command
        .env("STSD_SOCKET", "stsd.sock")
        .current_dir(env.path("run"));
    env.start_daemon_with(command);
    assert!(env.path("run/stsd.sock").exists());
    assert!(env.ctl(&["status"]).status.success());
}

#[test]
fn policy_file_with_a_byte_order_mark_is_accepted() {
    let env = TestEnv::without_daemon(&[]);
    let policy = "\u{feff}{\"Version\": \"1\", \"Statement\": []}";
    env.write("policy.json", policy, 0o600);
    env.write_config(&format!("{UPLOAD}policy_file = \"policy.json\"\n"));
    let output = env.daemon_command().arg("--check").output().unwrap();
    assert!(output.status.success(), "{output:?}");
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
