//! `stsctl setup`: the configuration of a tool works, and the rest of the tool's file stays.

mod check;
mod refused;
mod write;

use std::{path::Path, process::Command};

use e2e::{Action, Home, OutputLog, TestEnv, UPLOAD, assert_output, clients, program, run};
use serde_json::Value;

/// Each tool with a file: its name, the path, and a content of the user.
const FILES: [(&str, &str, &str); 4] = [
    (
        "aliyun-cli",
        ".aliyun/config.json",
        "{\r\n  \"current\": \"mine\",\r\n  \"profiles\": [\r\n    {\r\n      \"name\": \"mine\",\r\n      \
         \"mode\": \"AK\",\r\n      \"access_key_id\": \"LTAIMINE\",\r\n      \"future\": [1.50, \
         99999999999999999999]\r\n    }\r\n  ],\r\n  \"meta_path\": \"\",\r\n  \"unknown\": {\"a\": 1, \"a\": \
         2}\r\n}\r\n",
    ),
    (
        "aws",
        ".aws/config",
        "\u{feff}# mine\r\n[default]\r\nregion=x\r\n; more\r\n[profile other]\r\ns3 =\r\n  a = b\r\n\r\n\
         # the end\r\n",
    ),
    (
        "rclone",
        ".config/rclone/rclone.conf",
        "[mine]\ntype = drive\ntoken = {\"a\":\"b\"}\n# no end of a line",
    ),
    (
        "ossutil1",
        ".ossutilconfig",
        "[Credentials]\nlanguage=EN\nendpoint=mine\n\n[Bucket-Endpoint]\nb = c\n",
    ),
];

#[test]
fn setup_lists_the_same_tools_as_text_and_as_json() {
    let env = TestEnv::without_daemon(&[]);
    let lines = String::from_utf8(env.ctl(&["setup"]).stdout).unwrap();
    let output = env.ctl(&["setup", "--json"]);
    let list: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(lines.lines().count(), list.len());
    for (line, tool) in lines.lines().zip(list) {
        assert_eq!(line.split(' ').next(), tool["tool"].as_str(), "{line}");
        assert!(line.contains(tool["about"].as_str().unwrap()), "{line}");
        assert_eq!(line.ends_with(" (--write)"), tool["writes"], "{line}");
    }
}

#[test]
fn unsupported_setup_is_a_usage_error() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let home = Home::in_env(&env);
    let mut errors = OutputLog::new(&env);
    for arguments in [
        &["aws", "oss-upload"][..],
        &["aws", "oss-upload", "--region", "oss-cn-hongkong"],
        &["duckdb", "oss-upload", "--write"],
        &["oss2", "oss-upload", "--write"],
        &["aws", "a b"],
        &["aws", "oss-upload", "--name", "a]b"],
        &["aws", "oss-upload", "--shim", "/with space/sts-shim"],
        &["aws", "oss-upload", "--shim", "sts-shim"],
        &["aws", "oss-upload", "--write", "--check"],
        &["aws"],
        &["nosuch", "oss-upload"],
    ] {
        let output = home.setup(arguments);
        assert_eq!(output.code, Some(2), "{arguments:?}: {}", output.stderr);
        errors.add(&arguments.join(" "), &output.stderr);
    }
    assert_output!("unsupported_setup", errors.text());
    assert!(home.files().is_empty());
    let list = home.setup(&[]).assert_success();
    assert!(list.lines().any(|it| it.starts_with("rclone ")), "{list}");
}

/// Runs the program that `setup` prints, with more lines, by the command in its first line.
fn snippet(env: &TestEnv, tool: &str, interpreter: &Path, flag: &str, more: &str) -> String {
    let home = Home::in_env(env);
    let printed = home
        .setup(&[tool, "oss-upload", "--region", "cn-hongkong"])
        .assert_success();
    assert!(
        printed
            .lines()
            .next()
            .unwrap()
            .contains("stsctl exec oss-upload -- ")
    );
    let script = printed
        .replace(
            "https://oss-cn-hongkong.aliyuncs.com",
            env.emulator().oss_url(),
        )
        .replace("BUCKET", "examplebucket");
    let mut command = Command::new(program("stsctl"));
    command.arg("--socket").arg(env.socket());
    command.args(["exec", "oss-upload", "--"]).arg(interpreter);
    command
        .arg(flag)
        .arg(script + more)
        .env("HOME", home.path());
    command.current_dir(clients().join("node"));
    run(command).assert_success().trim().to_owned()
}

#[test]
fn printed_setup_programs_run() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let expected = env.document(&["oss-upload"])["AccessKeyId"].clone();
    let python = clients().join("python/bin/python");
    let more = "print(credentials.get_credential().access_key_id)";
    let found = snippet(&env, "credentials-python", &python, "-c", more);
    assert_eq!(expected, *found);
    let more = "credentials.getCredential().then((it) => console.log(it.accessKeyId));";
    let found = snippet(&env, "credentials-node", Path::new("node"), "--eval", more);
    assert_eq!(expected, *found);
    let more = "bucket.put_object('k', b'v')\nprint(bucket.get_object('k').read().decode())";
    let found = snippet(&env, "oss2", &python, "-c", more);
    assert_eq!(found, "v");
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
}
