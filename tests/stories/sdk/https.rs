//! The emulator by HTTPS: the daemon and official SDKs verify its certificate with the authority that
//! it has written.

use std::process::Command;

use e2e::{
    Action, SdkProgram, SetUp, TestEnv, UPLOAD, clients, python_program, sdk_env, with_aws_profile,
    without_variables,
};

/// Makes calls by HTTPS; `authority` is the variable by which the SDK takes the file of the authority.
#[track_caller]
fn by_https(command: fn(&TestEnv, &str) -> Command, set_up: SetUp, authority: &str) {
    let place = tempfile::tempdir().unwrap();
    let env = sdk_env(&["--tls", place.path().to_str().unwrap()]);
    let https = env.emulator().https().unwrap();
    let command = command(&env, &https.oss);
    let variables = [(authority, https.authority.as_str())];
    SdkProgram::start_with(&env, command, set_up, &variables).call(2);
    assert_eq!(env.emulator().outcomes(Action::OssPutObject, "ok"), 2);
}

fn python(env: &TestEnv, consumer: &str, oss: &str) -> Command {
    let mut command = python_program(env, "consumers.py", consumer);
    // The last of several values counts.
    command.args(["--oss", oss]);
    command
}

#[test]
fn oss2_verifies_the_generated_authority() {
    let command = |env: &TestEnv, oss: &str| python(env, "oss2", oss);
    by_https(command, without_variables, "REQUESTS_CA_BUNDLE");
}

#[test]
fn boto3_verifies_the_generated_authority() {
    let command = |env: &TestEnv, oss: &str| python(env, "boto3", oss);
    by_https(command, with_aws_profile, "AWS_CA_BUNDLE");
}

#[test]
fn ali_oss_verifies_the_generated_authority() {
    let command = |_: &TestEnv, oss: &str| {
        let mut command = Command::new("node");
        command.arg(clients().join("node/consumers.mjs"));
        command.args(["uri", oss, "1"]);
        command
    };
    by_https(command, without_variables, "NODE_EXTRA_CA_CERTS");
}

#[test]
fn daemon_renews_by_https() {
    let place = tempfile::tempdir().unwrap();
    let mut env = TestEnv::without_daemon(&["--tls", place.path().to_str().unwrap()]);
    let https = env.emulator().https().unwrap();
    env.write_config_with(&format!("endpoint = \"{}\"\n", https.sts), UPLOAD);
    let mut command = env.daemon_command();
    command.env("SSL_CERT_FILE", &https.authority);
    env.start_daemon_with(command);
    assert!(env.ctl(&["refresh", "oss-upload"]).status.success());
    assert!(env.emulator().outcomes(Action::AssumeRole, "ok") >= 1);
}
