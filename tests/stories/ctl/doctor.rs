//! `stsctl doctor`: it finds each planted fault and names the fix, and reports only `ok` otherwise.

mod endpoint;
mod tls;
mod units;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::{UnixListener, UnixStream},
    },
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use e2e::{
    Action, Fault, KEY_SECRET, OutputLog, STRANGER, TestEnv, UPLOAD, assert_output, program,
};
use nix::unistd::geteuid;
use serde_json::{Value, json};
use stsd_wire::{Message as _, Reply, Request, VERSION, message_length};

/// The findings of one run.
struct Visit {
    code: Option<i32>,
    findings: Vec<Value>,
    said: String,
}

/// Returns the doctor's command without this machine's variables, which it would judge.
fn command(env: &TestEnv, variables: &[(&str, &str)]) -> Command {
    let home = env.path("home");
    fs::create_dir_all(&home).unwrap();
    // The doctor bounds each check by some seconds; a busy machine adds to that.
    let mut command = Command::new("timeout");
    command.arg("100").arg(program("stsctl"));
    command.env_clear().env("HOME", home);
    command.env("STSD_CONFIG", env.path("config.toml"));
    command.env("STSD_SOCKET", env.socket());
    command.env("PATH", "/usr/bin:/bin");
    command.envs(variables.iter().copied());
    command.arg("doctor").stdin(Stdio::null());
    command
}

fn visit(env: &TestEnv, variables: &[(&str, &str)]) -> Visit {
    let output = command(env, variables).arg("--json").output().unwrap();
    e2e::assert_no_secrets("stsctl's stderr", &output.stderr);
    e2e::assert_no_secrets("stsctl's stdout", &output.stdout);
    let said = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    let findings = serde_json::from_str(&said).unwrap_or_else(|it| panic!("{it}: {complaint}"));
    Visit {
        code: output.status.code(),
        findings,
        said,
    }
}

impl Visit {
    /// Asserts a finding with these words, and with these in its fix; returns its text.
    #[track_caller]
    fn finds(&self, verdict: &str, words: &str, fix: &str) -> String {
        let has = |it: &&Value, key: &str, words: &str| {
            let text = it[key].as_str().unwrap();
            words.split(" & ").all(|word| text.contains(word))
        };
        let found = self.findings.iter().find(|it| {
            it["verdict"] == verdict
                && (has(it, "remark", words) || has(it, "check", words))
                && has(it, "fix", fix)
        });
        let found = found.unwrap_or_else(|| panic!("{verdict}: {words}: {fix}: {}", self.said));
        let codes: &[i32] = if verdict == "fault" { &[9] } else { &[1, 9] };
        assert!(codes.contains(&self.code.unwrap()), "{:?}", self.code);
        let text = |key: &str| found[key].as_str().unwrap();
        format!(
            "{verdict}  {}: {}\nfix: {}",
            text("check"),
            text("remark"),
            text("fix")
        )
    }

    /// Asserts that every finding is `ok`.
    #[track_caller]
    fn finds_nothing(&self) {
        for finding in &self.findings {
            assert_eq!(finding["verdict"], "ok", "{}", self.said);
            assert_eq!(finding["fix"], "", "{}", self.said);
        }
        assert_eq!(self.code, Some(0));
    }
}

fn set_mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn doctor_reports_only_ok_for_a_healthy_daemon() {
    let env = TestEnv::start();
    let _ = env.document(&["oss-upload"]);
    let healthy = visit(&env, &[]);
    healthy.finds_nothing();
    for what in [
        "daemon",
        "socket",
        "socket's directory",
        "secret pages",
        "config",
        "key of uploader",
        "endpoint",
        "clock",
        "profile oss-upload",
        "environment",
    ] {
        let is = |it: &Value| it["check"] == what;
        assert!(healthy.findings.iter().any(is), "{what}: {}", healthy.said);
    }
    // The text has one line for each finding, and the summary.
    let output = command(&env, &[]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    let (findings, summary) = said.trim_end().rsplit_once('\n').unwrap();
    let count = healthy.findings.len();
    assert_eq!(findings.lines().count(), count);
    assert!(findings.lines().all(|it| it.starts_with("ok ")), "{said}");
    let expected = format!("{count} checks: {count} ok");
    assert_eq!(summary, expected);
}

#[test]
fn doctor_finds_an_unsafe_socket_or_directory() {
    let env = TestEnv::start();
    let (directory, socket) = (env.path("run"), env.socket());
    set_mode(&directory, 0o755);
    visit(&env, &[]).finds("fault", "mode 0755", "chmod 0700");
    // A shared directory gets no advice to close it.
    set_mode(&directory, 0o1777);
    let found = visit(&env, &[]);
    found.finds("fault", "mode 1777", "yours alone");
    assert!(!found.said.contains("chmod"), "{}", found.said);
    set_mode(&directory, 0o700);
    set_mode(&socket, 0o666);
    visit(&env, &[]).finds("warning", "mode 0666", "chmod 0600");
    set_mode(&socket, 0o600);
    visit(&env, &[]).finds_nothing();
    if !geteuid().is_root() {
        e2e::not_run("only root can give a directory to another user");
        return;
    }
    chown(&directory, Some(STRANGER), None).unwrap();
    visit(&env, &[]).finds("fault", "belongs to the user 64001", "STSD_SOCKET");
}

#[test]
fn doctor_finds_an_absent_stale_hung_or_newer_daemon() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    visit(&env, &[]).finds("fault", "no daemon at", "start it with `stsd`");
    fs::write(env.socket(), "").unwrap();
    visit(&env, &[]).finds("fault", "is not a socket", "move it away");
    fs::remove_file(env.socket()).unwrap();
    // The socket of a killed daemon.
    drop(UnixListener::bind(env.socket()).unwrap());
    visit(&env, &[]).finds("fault", "has exited left it", "replaces the socket");
    let answers = |answer: fn(UnixStream)| {
        let _ = fs::remove_file(env.socket());
        let listener = UnixListener::bind(env.socket()).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || answer(stream.unwrap()));
            }
        });
    };
    answers(|stream| {
        thread::sleep(Duration::from_secs(600));
        drop(stream);
    });
    visit(&env, &[]).finds("fault", "did not answer in time", "stopped or hung");
    answers(|mut stream| {
        let version = VERSION + 1;
        let _ = stream.write_all(&Reply::Hello { version }.frame().unwrap());
        let _ = stream.read_to_end(&mut Vec::new());
    });
    visit(&env, &[]).finds("fault", "daemon", "upgrade the client");
}

#[test]
fn doctor_finds_a_daemon_of_another_release() {
    let env = TestEnv::start();
    let mut status = env.client().status().unwrap();
    status.daemon_version = "0.0.0".to_owned();
    let socket = env.path("run/older.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    set_mode(&socket, 0o600);
    let answer = move |mut stream: UnixStream| {
        let mut said = Reply::Hello { version: VERSION }.frame().unwrap().to_vec();
        let mut header = [0; 4];
        while stream.read_exact(&mut header).is_ok() {
            let mut message = vec![0; message_length(header).unwrap()];
            stream.read_exact(&mut message).unwrap();
            match Request::decode(&message).unwrap() {
                Request::Hello { .. } => continue,
                Request::Status { .. } => {
                    let status = Reply::Status(status.clone());
                    said.extend_from_slice(&status.frame().unwrap());
                    let _ = stream.write_all(&said);
                }
                _ => {}
            }
            return;
        }
    };
    thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap());
        }
    });
    let found = visit(&env, &[("STSD_SOCKET", socket.to_str().unwrap())]);
    found.finds("warning", "the daemon is 0.0.0", "start the daemon again");
}

#[test]
fn doctor_finds_config_errors_and_readable_keys() {
    let env = TestEnv::start();
    let _ = env.document(&["oss-upload"]);
    env.write_config(&format!("{UPLOAD}duration = \"5m\"\n"));
    let found = visit(&env, &[]);
    found.finds("fault", "config.toml: & duration", "stsctl reload");
    env.write_config(UPLOAD);
    set_mode(&env.path("uploader.key"), 0o644);
    visit(&env, &[]).finds("fault", "has mode 0644", "chmod 0600");
    fs::remove_file(env.path("uploader.key")).unwrap();
    visit(&env, &[]).finds("fault", "uploader.key is not there", "access_key_file");
    fs::remove_file(env.path("config.toml")).unwrap();
    visit(&env, &[]).finds("fault", "there is no", "stsctl import");
}

/// Refreshes a profile whose call is refused, and adds the finding with that word to a log.
#[track_caller]
fn add_refusal(texts: &mut String, env: &TestEnv, word: &str) {
    let _ = env.ctl(&["refresh", "oss-upload"]);
    let finding = visit(env, &[]).finds("fault", word, "");
    let mut log = OutputLog::new(env);
    log.add(word, &finding);
    *texts += log.text();
    *texts += "\n\n";
}

#[test]
fn doctor_names_the_console_step_for_an_sts_refusal() {
    let mut texts = String::new();
    for code in [
        "NoPermission",
        "AuthenticationFail.NoPermission",
        "InvalidAccessKeyId.NotFound",
    ] {
        let env = TestEnv::start();
        env.emulator()
            .inject_fault(Action::AssumeRole, Fault::error(code));
        add_refusal(&mut texts, &env, code);
    }
    let env = TestEnv::with(&[], &UPLOAD.replace("role/oss-upload", "role/nosuch"));
    add_refusal(&mut texts, &env, "EntityNotExist.Role");
    let env = TestEnv::with(&[], &format!("{UPLOAD}duration = \"12h\"\n"));
    add_refusal(&mut texts, &env, "InvalidParameter.DurationSeconds");
    assert_output!("sts_refusals", texts.trim_end());
}

#[test]
fn doctor_names_the_console_step_for_a_disabled_or_wrong_key() {
    let mut texts = String::new();
    let env = TestEnv::start();
    env.emulator().disable_key("LTAIEXAMPLEUPLOADER01");
    add_refusal(&mut texts, &env, "Inactive");
    let env = TestEnv::start();
    let wrong = format!(
        "access_key_id = \"LTAIEXAMPLEUPLOADER01\"\naccess_key_secret = \"{KEY_SECRET}9\"\n"
    );
    env.write("uploader.key", &wrong, 0o600);
    add_refusal(&mut texts, &env, "SignatureDoesNotMatch");
    assert_output!("refused_keys", texts.trim_end());
}

#[test]
fn doctor_finds_sessions_below_50_minutes() {
    let env = TestEnv::with(&["--session-life", "120s"], UPLOAD);
    let _ = env.document(&["oss-upload"]);
    visit(&env, &[]).finds("warning", "less than 50 min", "maximum session duration");
}

#[test]
fn doctor_finds_an_unreachable_sts() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config_with("endpoint = \"http://127.0.0.1:1\"\n", UPLOAD);
    visit(&env, &[]).finds("fault", "does not answer at port 1", "firewall");
    env.write_config_with("endpoint = \"https://sts.invalid\"\n", UPLOAD);
    visit(&env, &[]).finds("fault", "sts.invalid has no address", "resolv.conf");
    let proxy = [("HTTPS_PROXY", "http://proxy.invalid")];
    let words = "sts.invalid & by the proxy http://proxy.invalid (HTTPS_PROXY)";
    visit(&env, &proxy).finds("warning", words, "check the network, the proxy");
}

#[test]
fn doctor_finds_a_clock_that_differs_from_sts() {
    let env = TestEnv::without_daemon(&[]);
    for (date, verdict) in [("+600 seconds", "warning"), ("-2 hours", "fault")] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut command = Command::new("date");
        let output = command
            .args(["-u", "+%a, %d %b %Y %H:%M:%S GMT", "-d", date])
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        let date = String::from_utf8(output.stdout).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let answer = format!("HTTP/1.1 404 Not Found\r\nDate: {}\r\n\r\n", date.trim());
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        env.write_config_with(&format!("endpoint = \"http://{address}\"\n"), UPLOAD);
        visit(&env, &[]).finds(verdict, "clock", "timedatectl");
    }
}

#[test]
fn doctor_finds_secrets_and_faults_in_aliyun_config() {
    let env = TestEnv::start();
    fs::create_dir_all(env.path("home/.aliyun")).unwrap();
    let plant = |profiles: &Value, mode| {
        let text = json!({"current": "a", "profiles": profiles}).to_string();
        env.write("home/.aliyun/config.json", &text, mode);
        let found = visit(&env, &[]);
        assert!(!found.said.contains("never-to-be-shown"), "{}", found.said);
        found
    };
    let process =
        |command: &str| json!({"name": "a", "mode": "External", "process_command": command});
    let clean = process("/usr/bin/sts-shim oss-upload");
    plant(&json!([clean]), 0o644).finds_nothing();
    let mut written = clean.clone();
    written["access_key_id"] = "STS.Example".into();
    written["access_key_secret"] = "never-to-be-shown".into();
    written["sts_token"] = "never-to-be-shown".into();
    let found = plant(&json!([written]), 0o600);
    found.finds(
        "warning",
        "written a session's secrets back & clear text: a",
        "sts_token",
    );
    plant(&json!([written]), 0o644).finds("fault", "mode 0644", "chmod 0600");
    let key = json!({"name": "b", "mode": "AK", "access_key_id": "LTAIEXAMPLE",
        "access_key_secret": "never-to-be-shown"});
    let found = plant(&json!([clean, key]), 0o600);
    found.finds(
        "warning",
        "do not end & clear text: b",
        "stsctl import --write",
    );
    // aliyun-cli needs the tokens of a login until they end.
    let login = json!({"name": "l", "mode": "OAuth", "oauth_refresh_token": "never-to-be-shown"});
    let found = plant(&json!([clean, login]), 0o600);
    found.finds_nothing();
    assert!(
        found.said.contains("logins of aliyun-cli") && !found.said.contains("do not end"),
        "{}",
        found.said
    );
    // Import and doctor have one verdict.
    let bad = json!({"name": "b", "mode": "AK", "access_key_id": "no id",
        "access_key_secret": "never-to-be-shown"});
    plant(&json!([clean, bad]), 0o600).finds(
        "warning",
        "does not end & clear text: b",
        "stsctl import does not take b (its access_key_id is none",
    );
    env.write(
        "home/.ossutilconfig",
        "[Credentials]\naccessKeyID=LTAIEXAMPLE\naccessKeySecret=never-to-be-shown\n",
        0o600,
    );
    plant(&json!([clean]), 0o600).finds(
        "warning",
        "AccessKeys & clear text: Credentials",
        "stsctl setup ossutil1",
    );
    fs::remove_file(env.path("home/.ossutilconfig")).unwrap();
    let quoted = process("\"/opt/my tools/sts-shim\" oss-upload");
    let found = plant(&json!([quoted]), 0o600);
    found.finds(
        "warning",
        "split at each space & aliyun-cli before 3.4.9",
        "without spaces",
    );
    // The installed versions are named, the affected and the unaffected ones.
    let modules = env.path("home/modules");
    let module = "home/modules/@alicloud/credentials/package.json";
    fs::create_dir_all(modules.join("@alicloud/credentials")).unwrap();
    let aliyun = |version: &str| {
        env.write(
            "home/bin/aliyun",
            &format!("#!/bin/sh\necho {version}\n"),
            0o755,
        );
        env.write(module, r#"{"name": "x", "version": "2.4.7"}"#, 0o644);
        let path = format!("{}:/usr/bin:/bin", env.path("home/bin").display());
        let modules = modules.display().to_string();
        visit(&env, &[("PATH", &path), ("NODE_PATH", &modules)])
    };
    fs::create_dir_all(env.path("home/bin")).unwrap();
    aliyun("3.4.8").finds(
        "warning",
        "split at each space & by aliyun-cli 3.4.8 in",
        "bring that up to date",
    );
    aliyun("3.4.10").finds(
        "warning",
        "not by aliyun-cli 3.4.10 in & @alicloud/credentials 2.4.7 in",
        "bring these up to date",
    );
}

#[test]
fn doctor_finds_variables_that_override_a_profile() {
    let env = TestEnv::with(&[], &format!("{UPLOAD}[http]\nlisten = \"127.0.0.1:0\"\n"));
    let mut log = OutputLog::new(&env);
    for (name, value, words) in [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI", "before any profile"),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/x", "before any profile"),
        ("OSS_ACCESS_KEY_SECRET", "never-to-be-shown", "OSS_ACCESS"),
        (
            "ALIBABA_CLOUD_DISABLE_EXTERNAL_PROCESS",
            "true",
            "running sts-shim",
        ),
        (
            "ALIBABA_CLOUD_IGNORE_PROFILE",
            "TRUE",
            "ignore its profiles",
        ),
        ("HTTP_PROXY", "http://never-to-be-shown", "go to the proxy"),
    ] {
        let found = visit(&env, &[(name, value)]);
        log.add(name, &found.finds("warning", words, ""));
        assert!(!found.said.contains("never-to-be-shown"), "{}", found.said);
    }
    assert_output!("overriding_variables", log.text());
    let named = ("STSD_PROFILE", "oss-upload");
    let found = visit(&env, &[named, ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI")]);
    found.finds("warning", "before any profile", "unset");
    for variables in [
        [("HTTP_PROXY", "http://proxy"), ("NO_PROXY", "a, 127.0.0.1")],
        // The variables of `stsctl exec` are no fault.
        [
            ("STSD_PROFILE", "oss-upload"),
            ("ALIBABA_CLOUD_IGNORE_PROFILE", "TRUE"),
        ],
        [
            ("AWS_PROFILE", "stsd"),
            ("ALIBABA_CLOUD_DISABLE_EXTERNAL_PROCESS", "0"),
        ],
    ] {
        visit(&env, &variables).finds_nothing();
    }
}
