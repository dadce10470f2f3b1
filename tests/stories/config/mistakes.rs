//! Typical mistakes of a configuration, each with the message of `stsd --check`.

use std::fs;

use e2e::{OutputLog, TestEnv, UPLOAD, UserDaemon, assert_output};
use serde_json::Value;

const VALID: &str = r#"region = "cn-hongkong"
sts_calls_per_second = 20

[http]
listen = "127.0.0.1:0"

[source.uploader]
type = "access-key"
access_key_file = "uploader.key"

[profile.oss-upload]
source = "uploader"
role_arn = "acs:ram::100000000000001:role/oss-upload"
duration = "1h"
keep_warm = true
"#;

/// A part of the valid configuration, and the mistake in its place.
const MISTAKES: [(&str, &str); 59] = [
    // Keys and tables.
    ("region = ", "regoin = "),
    ("role_arn = ", "role_arm = "),
    ("role_arn = ", "role = "),
    ("role_arn = ", "role-arn = "),
    ("source = ", "colour = \"red\"\nsource = "),
    ("keep_warm = true", "region = \"cn-hangzhou\""),
    ("[source.uploader]", "[sources.uploader]"),
    ("[profile.oss-upload]", "[profiles.oss-upload]"),
    ("[profile.oss-upload]", "[profile]"),
    ("[profile.oss-upload]", "[[profile]]"),
    ("[http]", "[htpp]"),
    ("source = \"uploader\"\n", ""),
    ("type = \"access-key\"\n", ""),
    ("role_arn = ", "# role_arn = "),
    ("keep_warm = true", "duration = \"2h\""),
    ("[http]", "[source.uploader]\ntype = \"ecs-role\"\n[http]"),
    // Names.
    ("source = \"uploader\"", "source = \"uploder\""),
    ("source = \"uploader\"", "source = \"oss-upload\""),
    ("source = \"uploader\"", "source = \"default\""),
    ("[source.uploader]", "[source.\"a\\u001b[2J\"]"),
    ("type = \"access-key\"", "type = \"accesskey\""),
    ("type = \"access-key\"", "type = \"AK\""),
    ("[profile.oss-upload]", "[profile.\"oss upload\"]"),
    // Types.
    ("duration = \"1h\"", "duration = 3600"),
    ("keep_warm = true", "keep_warm = \"yes\""),
    ("keep_warm = true", "keep_warm = 1"),
    ("keep_warm = true", "allow = \"user:root\""),
    ("keep_warm = true", "allow = [0]"),
    ("keep_warm = true", "on_renewal = \"/bin/true\""),
    ("keep_warm = true", "file = \"credentials.json\""),
    ("sts_calls_per_second = 20", "sts_calls_per_second = \"20\""),
    ("sts_calls_per_second = 20", "http = true"),
    // Values.
    ("\"cn-hongkong\"", "\"cn-hongkon\""),
    ("\"cn-hongkong\"", "\"oss-cn-hongkong\""),
    ("sts_calls_per_second = 20", "sts_calls_per_second = 1000"),
    ("\"127.0.0.1:0\"", "\"localhost:7787\""),
    ("acs:ram", "arn:aws:iam"),
    ("acs:ram::100000000000001:role/oss-upload", "oss-upload"),
    ("duration = \"1h\"", "duration = \"60\""),
    ("duration = \"1h\"", "duration = \"24h\""),
    ("keep_warm = true", "role_session_name = \"a b\""),
    ("\"uploader.key\"", "\"~/uploader.key\""),
    ("\"uploader.key\"", "\"nosuch.key\""),
    (
        "keep_warm = true",
        "on_renewal = [\"systemctl\", \"reload\", \"nginx\"]",
    ),
    (
        "keep_warm = true",
        "file = { path = \"out.json\", format = \"alyun\" }",
    ),
    // The key and other secrets, which the message does not show.
    (
        "access_key_file = \"uploader.key\"",
        "access_key_id = \"LTAIx\"\naccess_key_secret = \"SECRET\"",
    ),
    ("listen = \"127.0.0.1:0\"", "secret = \"SECRET\""),
    ("keep_warm = true", "external_id = \"? SECRET\""),
    ("keep_warm = true", "SECRET = true"),
    ("keep_warm = true", "SECRET"),
    ("[http]", "[SECRET"),
    (
        "type = \"access-key\"",
        "type = \"oidc\"\ntoken = \"SECRET\"",
    ),
    ("keep_warm = true", "polcy = \"SECRET\""),
    // Beside a table of the right name.
    ("[http]", "[sources.b]\ntype = \"ecs-role\"\n[http]"),
    (
        "sts_calls_per_second = 20",
        "sts_calls_per_second = 99999999999999999999",
    ),
    // The text.
    ("\"cn-hongkong\"", "cn-hongkong"),
    ("\"uploader\"", "\"uploader"),
    ("[http]", "[http"),
    ("keep_warm = true", "keep_warm: true"),
];

fn env() -> TestEnv {
    let env = TestEnv::without_daemon(&[]);
    env.write_config("");
    env
}

fn write(env: &TestEnv, text: &str) {
    fs::write(env.path("config.toml"), text).unwrap();
}

/// Returns the document of `stsd --check --json`.
fn document(env: &TestEnv) -> (Option<i32>, Value) {
    let output = env.daemon_command().args(["--check", "--json"]).output();
    let output = output.unwrap();
    e2e::assert_no_secrets("stsd --check --json", &output.stdout);
    assert!(output.stderr.is_empty(), "{output:?}");
    let document = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), document)
}

#[test]
fn typical_mistake_is_named_with_value_place_and_likely_word() {
    let env = env();
    write(&env, VALID);
    let valid = env.daemon_command().arg("--check").output().unwrap();
    assert!(valid.status.success(), "{valid:?}");
    let mut log = OutputLog::new(&env);
    for (part, mistake) in MISTAKES {
        assert!(VALID.contains(part), "{part}");
        let text = VALID.replacen(part, mistake, 1);
        write(&env, &text.replace("SECRET", e2e::KEY_SECRET));
        let mut check = env.daemon_command();
        let output = check.arg("--check").env("HOME", env.path("")).output();
        let output = output.unwrap();
        e2e::assert_no_secrets(mistake, &output.stderr);
        let stderr = String::from_utf8(output.stderr).unwrap();
        // An unknown region may be a newer one.
        let is_warning = mistake == "\"cn-hongkon\"";
        assert_eq!(output.status.success(), is_warning, "{mistake}: {stderr}");
        log.add(mistake, &stderr);
    }
    assert_output!("mistakes", log.text());
}

#[test]
fn check_reports_all_mistakes_of_a_file_at_once() {
    let env = env();
    let mistakes = [
        ("region = ", "regoin = "),
        ("20", "\"20\""),
        ("\"127.0.0.1:0\"", "\"0.0.0.0:80\""),
        ("access-key\"", "access-kee\""),
        ("role_arn = ", "role_arm = "),
        ("acs:ram", "arn:aws"),
        ("\"1h\"", "\"1d\""),
        ("true", "yes"),
    ];
    let text = mistakes
        .iter()
        .fold(VALID.to_owned(), |text, (part, mistake)| {
            text.replacen(part, mistake, 1)
        });
    write(&env, &text);
    let (code, report) = document(&env);
    assert_eq!(code, Some(1));
    let errors = report["errors"].as_array().unwrap();
    let lines: Vec<_> = errors
        .iter()
        .map(|it| it["line"].as_u64().unwrap())
        .collect();
    assert_eq!(lines, [1, 2, 5, 8, 13, 13, 14, 15], "{report:#}");
}

#[test]
fn check_reports_every_file_that_cannot_be_written() {
    let tables = "[profile.oss-upload.file]\npath = \"exports/x.json\"\n\
        [audit]\nfile = \"audit.jsonl\"\n";
    let Some(user) = UserDaemon::prepare(&format!("{UPLOAD}{tables}")) else {
        return;
    };
    user.put("audit.jsonl", "", 0o644);
    user.put("exports/x.json", "", 0o600);
    user.mode("exports", 0o500);
    let refusal = user.refusal(user.daemon_command()).unwrap();
    for key in ["audit.file: ", "profile.oss-upload.file.path: "] {
        assert!(refusal.contains(key), "{key}: {refusal}");
    }
}

#[test]
fn check_of_a_file_with_thousands_of_mistakes_reports_a_hundred() {
    let env = env();
    let names = |line: &str| {
        (0..5000)
            .map(|it| line.replace('#', &it.to_string()))
            .collect::<String>()
    };
    let profile = "[profile.p#]\nsource = \"uploadr\"\nrole_arn = \"acs:ram::1:role/x\"\n";
    for text in [
        names("colour# = 1\n"),
        names("colour\n"),
        names("vpc = true\n"),
        names(profile),
        format!("{} = 1\n", "x".repeat(1_000_000)),
        format!("a = [{}]\n", "x,".repeat(300_000)),
    ] {
        write(&env, &text);
        let (code, report) = document(&env);
        assert_eq!(code, Some(1));
        let errors = report["errors"].as_array().unwrap();
        assert!((1..=100).contains(&errors.len()), "{}", errors.len());
    }
}

#[test]
fn check_as_json_has_code_place_and_hint_of_each_mistake() {
    let env = env();
    write(&env, VALID);
    let (code, report) = document(&env);
    assert_eq!(code, Some(0));
    assert_eq!(report["valid"], true);
    assert_eq!(report["profiles"], serde_json::json!(["oss-upload"]));
    let endpoints = &report["sts_endpoints"];
    let url = "https://sts.cn-hongkong.aliyuncs.com";
    assert_eq!(endpoints["urls"], serde_json::json!([url]));
    assert_eq!(endpoints["named_by"], "region in the configuration");

    write(&env, &VALID.replace("role_arn", "role_arm"));
    let (code, report) = document(&env);
    assert_eq!(code, Some(1));
    assert_eq!(report["valid"], false);
    let error = &report["errors"][0];
    assert_eq!(error["code"], "config-unknown-key");
    assert_eq!(error["line"], 13);
    assert_eq!(error["key"], "profile.oss-upload.role_arm");
    assert_eq!(error["hint"], "did you mean role_arn?");
}

#[test]
fn warning_beside_an_error_is_reported_too() {
    let env = env();
    let text = VALID.replace("cn-hongkong", "cn-hongkon");
    write(&env, &text.replace("role_arn", "role_arm"));
    let (_, report) = document(&env);
    let key = |kind: &str| report[kind][0]["key"].clone();
    assert_eq!(key("errors"), "profile.oss-upload.role_arm");
    assert_eq!(key("warnings"), "region");
    let output = env.daemon_command().arg("--check").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("\nwarning: "), "{stderr}");
}

#[test]
fn json_option_of_stsd_belongs_to_check() {
    let env = env();
    write(&env, VALID);
    let output = env.daemon_command().arg("--json").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("--check"), "{stderr}");
}

#[test]
fn key_file_secret_with_a_trailing_blank_is_refused() {
    let env = env();
    write(&env, VALID);
    let secret = e2e::KEY_SECRET;
    for text in [
        format!("{secret} "),
        format!(" {secret}"),
        format!("{secret}\\t"),
    ] {
        let key = format!("access_key_id = \"LTAIx\"\naccess_key_secret = \"{text}\"\n");
        env.write("uploader.key", &key, 0o600);
        let error = env.check_error();
        assert!(
            error.contains("blank") && error.contains("config-key-file"),
            "{error}"
        );
    }
}

#[test]
fn refused_reload_reports_all_mistakes() {
    let env = TestEnv::start();
    write(
        &env,
        &VALID
            .replace("role_arn", "role_arm")
            .replace("\"1h\"", "3600"),
    );
    let output = env.ctl(&["reload"]);
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        complaint.contains("config-unknown-key") && complaint.contains("config-wrong-type"),
        "{complaint}"
    );
}
