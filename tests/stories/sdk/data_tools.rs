//! Data tools of the full gate, with what `stsctl setup` writes or prints, through rotations and the end
//! of the daemon. The emulated OSS is their proxy, so that the endpoint and the bucket in its host stay;
//! only the scheme is another one.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use e2e::{
    Action, Home, RunOutput, SdkProgram, SetUp, TestEnv, data_tools, held_key, in_exec, run,
    sdk_env, with_written_aws_profile,
};
use nix::sys::signal::Signal;

const ROTATIONS: usize = 3;

/// The endpoint of the written profile, without TLS.
const ENDPOINT: (&str, &str) = (
    "AWS_ENDPOINT_URL_S3",
    "http://s3.oss-cn-hongkong.aliyuncs.com",
);

/// Returns what `stsctl setup` prints for a tool.
fn printed(home: &Home, tool: &str) -> String {
    let output = home.setup(&[tool, "oss-upload", "--region", "cn-hongkong"]);
    output.assert_success()
}

/// Has a tool write and read before and after each rotation. `variable` permits HTTP, `says` is a part of
/// the tool's error without a daemon.
#[track_caller]
fn through_rotations(
    tool: &str,
    set_up: SetUp,
    snippet: fn(&Home) -> String,
    variable: (&str, &str),
    says: &str,
) {
    let Some(programs) = data_tools() else {
        return;
    };
    let mut env = sdk_env(&["--session-life", "8s"]);
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients/python/data_tools.py");
    let mut command = Command::new(programs.join("python"));
    command.arg(script).arg(tool);
    command.env("STORY_SNIPPET", snippet(&Home::in_env(&env)));
    let proxy = env.emulator().oss_url().to_owned();
    let variables = [("HTTP_PROXY", &*proxy), variable];
    let mut program = SdkProgram::start_with(&env, command, set_up, &variables);
    for _ in 0..ROTATIONS {
        program.call(3);
        let before = held_key(&env);
        env.wait_until("a rotation", || held_key(&env) != before);
    }
    program.call(3);
    assert_eq!(env.emulator().calls(Action::OssOther), 0);

    env.daemon().signal(Signal::SIGTERM);
    let mut answer = String::new();
    env.wait_until("the end of the last session", || {
        answer = program.try_call(1).to_string();
        answer.contains("error")
    });
    assert!(answer.contains(says), "{answer}");
    drop(program);
    env.wait_for_daemon_exit();
}

#[test]
fn s3fs_by_the_written_profile() {
    let snippet = |_: &Home| String::new();
    let says = "sts-shim: no daemon";
    through_rotations("s3fs", with_written_aws_profile, snippet, ENDPOINT, says);
}

#[test]
fn duckdb_by_the_printed_statement() {
    fn without_tls(home: &Home) -> String {
        let style = "URL_STYLE 'vhost'";
        let statement = printed(home, "duckdb");
        assert!(statement.contains(style), "{statement}");
        statement.replace(style, &format!("{style}, USE_SSL false"))
    }
    let none = ("NOTHING", "");
    let says = "refresh secret";
    through_rotations("duckdb", with_written_aws_profile, without_tls, none, says);
}

#[test]
fn polars_by_the_printed_program() {
    fn of_the_bucket(home: &Home) -> String {
        let program = printed(home, "polars").replace("https://", "http://");
        program.replace("BUCKET", "examplebucket")
    }
    let http = ("AWS_ALLOW_HTTP", "true");
    through_rotations("polars", in_exec, of_the_bucket, http, "Connection refused");
}

fn aws(env: &TestEnv, program: &Path, arguments: &[&str]) -> RunOutput {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", env.path("home"));
    command.env("PATH", "/usr/bin:/bin");
    command.env("HTTP_PROXY", env.emulator().oss_url());
    command.env("AWS_PROFILE", "oss-upload");
    command.env(ENDPOINT.0, ENDPOINT.1);
    command.args(arguments).stdin(Stdio::null());
    run(command)
}

#[test]
fn aws_cli_by_the_written_profile() {
    let Some(programs) = data_tools() else {
        return;
    };
    let mut env = sdk_env(&["--session-life", "8s"]);
    let program = programs.join("aws");
    let home = Home::in_env(&env);
    home.setup_write("aws");
    let file = home.file("file").display().to_string();
    let object = "s3://examplebucket/tools/aws-cli";
    for round in 0..ROTATIONS {
        let text = format!("round {round}\n");
        home.put("file", &text, 0o600);
        aws(&env, &program, &["s3", "cp", &file, object]).assert_success();
        let found = aws(&env, &program, &["s3", "cp", object, "-"]);
        assert_eq!(found.assert_success(), text);
        let list = aws(&env, &program, &["s3", "ls", object]).assert_success();
        assert!(list.contains("aws-cli"), "{list}");
        let before = held_key(&env);
        env.wait_until("a rotation", || held_key(&env) != before);
    }
    let sync = [
        "s3",
        "sync",
        home.path().to_str().unwrap(),
        "s3://examplebucket/home",
    ];
    aws(&env, &program, &sync).assert_success();
    assert_eq!(env.emulator().calls(Action::OssOther), 0);

    env.daemon().signal(Signal::SIGTERM);
    env.wait_for_daemon_exit();
    let RunOutput { code, stderr, .. } = aws(&env, &program, &["s3", "ls", object]);
    assert_ne!(code, Some(0));
    assert!(stderr.contains("sts-shim: no daemon"), "{stderr}");
}
