//! The identity of an OIDC token, as a pod has it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use e2e::{
    Action, Fault, MARKERS, OTHER_CREDENTIAL_VARIABLES, OutputLog, Process, TestEnv,
    UPLOAD_ROLE_LINE, assert_output, clients, unix_time,
};
use nix::{
    sys::stat::Mode,
    unistd::{geteuid, mkfifo},
};
use serde_json::{Value, json};
use stsd_emulator::OIDC_TOKEN_MARKER;

const PROVIDER: &str = "acs:ram::100000000000001:oidc-provider/demo";

const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than the pause between two tokens on a busy machine, shorter than eight sessions.
const TOKEN_LIFE: &str = "10s";

/// Returns a profile whose token is in a file.
fn by_file() -> String {
    format!(
        "[source.pod]\ntype = \"oidc\"\nprovider_arn = \"{PROVIDER}\"\ntoken_file = \"token.key\"\n\
         [profile.pod]\nsource = \"pod\"\n{UPLOAD_ROLE_LINE}"
    )
}

/// Starts a daemon with a token in a file.
fn world(emulator: &[&str]) -> TestEnv {
    let mut env = TestEnv::without_daemon(emulator);
    env.write("token.key", &env.emulator().oidc_token(&json!({})), 0o600);
    env.write_config(&by_file());
    env.start_daemon();
    env
}

fn uploads(env: &TestEnv, profile: &str) {
    let put = env.oss_with_profile(profile, &["put", "examplebucket", profile], "text");
    assert!(put.is_ok(), "{put:?}");
}

#[test]
fn oidc_token_from_file_or_command_becomes_a_session() {
    let env = world(&[]);
    uploads(&env, "pod");
    let token = env.emulator().oidc_token(&json!({"algorithm": "ES256"}));
    env.write("issue.key", &format!("#!/bin/sh\necho '{token}'\n"), 0o700);
    let command = format!("token_command = [\"{}\"]", env.path("issue.key").display());
    let by_command = by_file()
        .replace("token_file = \"token.key\"", &command)
        .replace("pod", "asked");
    env.write_config(&format!("{}{by_command}", by_file()));
    assert!(env.ctl(&["reload"]).status.success());
    uploads(&env, "asked");
    assert_eq!(env.emulator().outcomes(Action::AssumeRoleWithOidc, "ok"), 2);
    assert_eq!(
        env.emulator().calls(Action::AssumeRole),
        0,
        "no key was needed"
    );
}

#[test]
fn oidc_variables_of_a_pod_are_sufficient() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write("token.key", &env.emulator().oidc_token(&json!({})), 0o600);
    env.write_config("[source.pod]\ntype = \"oidc\"\n[profile.pod]\nsource = \"pod\"\n");
    let output = env.daemon_command().arg("--check").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ALIBABA_CLOUD_OIDC_TOKEN_FILE"), "{said}");
    let mut command = env.daemon_command();
    command
        .env(
            "ALIBABA_CLOUD_ROLE_ARN",
            "acs:ram::100000000000001:role/oss-upload",
        )
        .env("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", PROVIDER)
        .env("ALIBABA_CLOUD_OIDC_TOKEN_FILE", env.path("token.key"))
        .env("ALIBABA_CLOUD_ROLE_SESSION_NAME", "from-the-pod");
    env.start_daemon_with(command);
    uploads(&env, "pod");
    let role = &env.client().status().unwrap().profiles[0].role_arn;
    assert_eq!(role, "acs:ram::100000000000001:role/oss-upload");
    // The configuration precedes the environment.
    let session = "[source.pod]\ntype = \"oidc\"\n[profile.pod]\nsource = \"pod\"\n\
                   role_arn = \"acs:ram::100000000000001:role/oss-read\"\n";
    env.write_config(session);
    assert!(env.ctl(&["reload"]).status.success());
    // The role trusts no provider.
    env.assert_refused("pod", 7, &[]);
}

#[test]
fn frequently_replaced_token_causes_no_failure() {
    let mut env = TestEnv::without_daemon(&["--session-life", "6s"]);
    let token = env.emulator().oidc_token(&json!({"life": TOKEN_LIFE}));
    env.write("token.key", &token, 0o600);
    env.write_config(&by_file());
    env.start_daemon();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let token = env.emulator().oidc_token(&json!({"life": TOKEN_LIFE}));
                env.replace("token.key", &token, 0o600);
                thread::sleep(Duration::from_secs(1));
            }
        });
        for _ in 0..2 {
            let (client, over) = (env.client(), &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let asked = unix_time();
                    let answer = client.credentials("pod", Duration::ZERO, PATIENCE);
                    let ends = answer.unwrap().credentials.expiration_unix_seconds;
                    assert!(ends.cast_unsigned() > asked, "it had ended");
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        env.wait_within(Duration::from_secs(120), "eight sessions", || {
            env.client().status().unwrap().profiles[0].renewals >= 8
        });
        over.store(true, Ordering::Relaxed);
    });
    let calls = env.emulator().calls(Action::AssumeRoleWithOidc);
    assert_eq!(
        env.emulator().outcomes(Action::AssumeRoleWithOidc, "ok"),
        calls
    );
}

#[test]
fn malformed_token_is_named_without_an_sts_call() {
    let env = world(&[]);
    let file = env.path("token.key");
    let good = env.emulator().oidc_token(&json!({}));
    let check = |text: &[u8], words: &str| {
        fs::write(&file, text).unwrap();
        let output = env.ctl(&["refresh", "pod"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(6), "{words}: {said}");
        assert!(said.contains(words), "{words}: {said}");
        assert!(said.contains("token.key"), "{said}");
    };
    check(b"", "gave nothing");
    check(b" \r\n", "gave nothing");
    check(b"\xff\xfe.a.b", "valid UTF-8");
    let three_parts = "three parts of base64url";
    check(good.split_once('.').unwrap().0.as_bytes(), three_parts);
    check(format!("{good}\n{good}").as_bytes(), three_parts);
    check(format!("\"{good}\"").as_bytes(), three_parts);
    check(
        format!("{good}.{}", "x".repeat(200_000)).as_bytes(),
        "larger than",
    );
    fs::remove_file(&file).unwrap();
    let gone = env.ctl(&["refresh", "pod"]);
    assert!(String::from_utf8_lossy(&gone.stderr).contains("No such file"));
    fs::create_dir(&file).unwrap();
    let directory = env.ctl(&["refresh", "pod"]);
    assert!(String::from_utf8_lossy(&directory.stderr).contains("not a regular file"));
    fs::remove_dir(&file).unwrap();
    mkfifo(&file, Mode::S_IRWXU).unwrap();
    let fifo = env.ctl(&["refresh", "pod"]);
    assert!(String::from_utf8_lossy(&fifo.stderr).contains("not a regular file"));
    fs::remove_file(&file).unwrap();
    // The content of the file is the identity.
    env.replace("token.key", &good, 0o666);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let loose = env.ctl(&["refresh", "pod"]);
    assert!(String::from_utf8_lossy(&loose.stderr).contains("open to every user"));
    assert_eq!(
        env.emulator().calls(Action::AssumeRoleWithOidc),
        0,
        "STS was not asked"
    );
    // White space around the token is accepted, as a text editor leaves it.
    env.replace("token.key", &format!(" {good}\r\n"), 0o600);
    env.wait_within(Duration::from_secs(40), "it is served by itself", || {
        env.shim(&["--patience", "1s", "pod"]).status.success()
    });
}

#[test]
fn token_refused_by_sts_is_named_with_its_fix() {
    let env = world(&[]);
    let check = |token: &Value, code: &str, words: &str| {
        env.replace("token.key", &env.emulator().oidc_token(token), 0o600);
        let output = env.ctl(&["refresh", "pod"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(7), "{said}");
        assert!(said.contains(code), "{code}: {said}");
        assert!(said.contains(words), "{words}: {said}");
    };
    check(
        &json!({"life": "-1m"}),
        "AuthenticationFail.OIDCToken.Expired",
        "renew what the file",
    );
    check(
        &json!({"audience": "other-audience"}),
        "AuthenticationFail.OIDCToken.AudienceNotMatch",
        "sts.aliyuncs.com",
    );
    check(
        &json!({"issuer": "https://elsewhere.example.com"}),
        "AuthenticationFail.OIDCToken.IssuerNotMatch",
        "check provider_arn",
    );
    check(
        &json!({"begins_in": "10m"}),
        "AuthenticationFail.OIDCToken.Invalid",
        "look at what writes",
    );
    let spoilt = env.emulator().oidc_token(&json!({}));
    let (head, _) = spoilt.rsplit_once('.').unwrap();
    env.replace("token.key", &format!("{head}.AAAA"), 0o600);
    let output = env.ctl(&["refresh", "pod"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("AuthenticationFail.OIDCToken.Invalid"),
        "{said}"
    );
    // A valid token is picked up without a reload, after STS has refused the one before.
    env.replace("token.key", &env.emulator().oidc_token(&json!({})), 0o600);
    env.wait_within(Duration::from_secs(40), "it is served by itself", || {
        env.shim(&["--patience", "1s", "pod"]).status.success()
    });
    let other = by_file().replace("oidc-provider/demo", "oidc-provider/nosuch");
    env.write_config(&other);
    assert!(env.ctl(&["reload"]).status.success());
    env.assert_refused("pod", 7, &["provider_arn"]);
}

#[test]
fn keys_without_effect_for_oidc_are_refused_at_load() {
    let env = TestEnv::without_daemon(&[]);
    env.write("token.key", &env.emulator().oidc_token(&json!({})), 0o600);
    let mut errors = OutputLog::new(&env);
    let mut check = |title: &str, config: &str| {
        env.write_config(config);
        errors.add(title, &env.check_error());
    };
    let with = |line: &str| format!("{}{line}\n", by_file());
    check("external_id = \"e-1\"", &with("external_id = \"e-1\""));
    check(
        "source_identity = \"jo\"",
        &with("source_identity = \"jo\""),
    );
    let provider = format!("provider_arn = \"{PROVIDER}\"");
    let replaced = |by: &str| by_file().replace(&provider, by);
    check("no provider_arn", &replaced(""));
    check(
        "provider_arn = \"acs:ram::1:saml-provider/demo\"",
        &replaced("provider_arn = \"acs:ram::1:saml-provider/demo\""),
    );
    let file = |by: &str| by_file().replace("token_file = \"token.key\"", by);
    check("no token_file", &file(""));
    check("token_file = \"none\"", &file("token_file = \"none\""));
    check(
        "token_file = \"token.key\"\ntoken_command = [\"/bin/true\"]",
        &file("token_file = \"token.key\"\ntoken_command = [\"/bin/true\"]"),
    );
    check(
        "access_key_file = \"uploader.key\"",
        &file("access_key_file = \"uploader.key\""),
    );
    check(
        "type = \"oauth\"",
        &by_file().replace("\"oidc\"", "\"oauth\""),
    );
    assert_output!("invalid_oidc_source", errors.text());
}

/// The token, after each step.
#[test]
fn oidc_token_is_in_locked_pages_only() {
    if !geteuid().is_root() {
        e2e::not_run("only root can read the memory of another process");
        return;
    }
    let env = world(&[]);
    let token = fs::read_to_string(env.path("token.key")).unwrap();
    let end = &token[token.len() - 24..];
    let texts = [&MARKERS[..], &[OIDC_TOKEN_MARKER, end]].concat();
    let look = |what: &str| {
        let unprotected = env.daemon().unprotected(&texts);
        assert!(unprotected.is_empty(), "{what}: {unprotected:#?}");
    };
    let _ = env.document(&["pod"]);
    look("after the first session");
    assert!(env.ctl(&["refresh", "pod"]).status.success());
    look("after a renewal");
    env.emulator().inject_fault(
        Action::Any,
        Fault::error("AuthenticationFail.OIDCToken.Expired"),
    );
    assert_eq!(env.ctl(&["refresh", "pod"]).status.code(), Some(7));
    look("after a refusal");
    env.emulator().clear_faults();
    env.write("issue.key", &format!("#!/bin/sh\necho '{token}'\n"), 0o700);
    let command = format!("token_command = [\"{}\"]", env.path("issue.key").display());
    env.write_config(&by_file().replace("token_file = \"token.key\"", &command));
    assert!(env.ctl(&["reload"]).status.success());
    let _ = env.document(&["pod"]);
    look("after a command has printed it");
    assert!(!env.daemon_log().contains(end));
}

#[test]
fn official_sdk_accepts_and_refuses_the_same_tokens() {
    let env = TestEnv::without_daemon(&[]);
    env.write("token.key", &env.emulator().oidc_token(&json!({})), 0o600);
    let python = clients().join("python/bin/python");
    let scripts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients/python");
    let certificate = env.path("front.pem");
    let mut front = Command::new(&python);
    front.arg(scripts.join("tls_front.py"));
    front.args([
        "--to",
        env.emulator().sts_url().strip_prefix("http://").unwrap(),
    ]);
    front.arg("--certificate").arg(&certificate);
    front.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut front = Process::start(front, &env.path("front.log"));
    let line: Value = serde_json::from_str(&front.first_line()).unwrap();
    let mut command = Command::new(&python);
    command
        .arg(scripts.join("oidc_story.py"))
        .args(["--front", line["address"].as_str().unwrap()])
        .args([
            "--oss",
            env.emulator().oss_url(),
            "--provider-arn",
            PROVIDER,
        ])
        .args(["--role-arn", "acs:ram::100000000000001:role/oss-upload"])
        .arg("--token-file")
        .arg(env.path("token.key"))
        .env("SSL_CERT_FILE", &certificate)
        .env("REQUESTS_CA_BUNDLE", &certificate);
    for name in OTHER_CREDENTIAL_VARIABLES {
        command.env_remove(name);
    }
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        // stderr is not checked: the errors of the library quote the URL with the token.
        e2e::assert_no_secrets("the SDK's stdout", &output.stdout);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), output.stdout, said)
    };
    let (ended_well, told, said) = run(&mut command);
    assert!(ended_well, "{said}");
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert!(told["AccessKeyId"].as_str().unwrap().starts_with("STS."));
    assert_eq!(env.emulator().outcomes(Action::AssumeRoleWithOidc, "ok"), 1);
    assert_eq!(env.emulator().outcomes(Action::OssPutObject, "ok"), 1);
    // An expired token is refused for the SDK as well.
    env.replace(
        "token.key",
        &env.emulator().oidc_token(&json!({"life": "-1m"})),
        0o600,
    );
    let (ended_well, _, said) = run(&mut command);
    assert!(!ended_well, "{said}");
    assert_eq!(
        env.emulator().outcomes(
            Action::AssumeRoleWithOidc,
            "AuthenticationFail.OIDCToken.Expired"
        ),
        1,
        "{said}"
    );
}
