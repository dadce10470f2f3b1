//! The operations of OSS by the official SDKs, unmodified, with credentials of the shim.

use std::process::Command;

use e2e::{Action, TestEnv, clients};
use serde_json::Value;

/// Runs the program of an SDK, asserts its success, and returns its line of JSON.
fn check(command: &mut Command) -> Value {
    for name in [
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "OSS_ACCESS_KEY_ID",
    ] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    e2e::assert_no_secrets("an SDK's stderr", &output.stderr);
    e2e::assert_no_secrets("an SDK's stdout", &output.stdout);
    assert!(output.status.success(), "{command:?}: {complaint}");
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn python(script: &str) -> Command {
    let mut command = Command::new(clients().join("python/bin/python"));
    let root = env!("CARGO_MANIFEST_DIR");
    command.arg(format!("{root}/clients/python/{script}"));
    command
}

/// One client puts, gets, heads, lists and deletes with credentials of the shim.
fn oss_story(command: &mut Command) {
    let env = TestEnv::start();
    command.args([
        "--endpoint",
        env.emulator().oss_url(),
        "--bucket",
        "examplebucket",
    ]);
    command.arg("--shim").arg(env.shim_line("oss-upload"));
    let told = check(command);
    assert_eq!(told["ok"], true, "{told}");
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
    assert_eq!(
        env.emulator().calls(Action::OssDeleteObject),
        1,
        "deletions, the last step of the program"
    );
}

#[test]
fn oss2_with_signature_version_1() {
    oss_story(python("oss_story.py").args(["--client", "oss2-v1", "--region", "cn-hongkong"]));
}

#[test]
fn oss2_with_signature_version_4() {
    oss_story(python("oss_story.py").args(["--client", "oss2-v4", "--region", "cn-hongkong"]));
}

#[test]
fn alibabacloud_oss_v2() {
    oss_story(python("oss_story.py").args(["--client", "oss-v2", "--region", "cn-hongkong"]));
}

#[test]
fn boto3_with_the_s3_api() {
    oss_story(python("oss_story.py").args(["--client", "boto3", "--region", "cn-hongkong"]));
}

#[test]
fn obstore_with_the_s3_api() {
    oss_story(python("oss_story.py").args(["--client", "obstore", "--region", "cn-hongkong"]));
}

fn node(v4: &str) -> Command {
    let mut command = Command::new("node");
    command
        .arg(clients().join("node/oss_story.mjs"))
        .args(["--v4", v4]);
    command
}

#[test]
fn ali_oss_with_signature_version_1() {
    oss_story(&mut node("false"));
}

#[test]
fn ali_oss_with_signature_version_4() {
    oss_story(&mut node("true"));
}

#[test]
fn official_sts_sdk_assumes_the_same_role() {
    let env = TestEnv::without_daemon(&[]);
    let mut command = python("sts_story.py");
    command.args([
        "--sts",
        env.emulator().sts_url(),
        "--oss",
        env.emulator().oss_url(),
    ]);
    command.args(["--access-key-id", "LTAIEXAMPLEUPLOADER01"]);
    command.args(["--role-arn", "acs:ram::100000000000001:role/oss-upload"]);
    command.env("STORY_ACCESS_KEY_SECRET", "ExampleSecretOfUploader000001");
    let told = check(&mut command);
    assert!(
        told["AccessKeyId"].as_str().unwrap().starts_with("STS."),
        "{told}"
    );
    assert!(
        env.emulator().calls(Action::AssumeRole) >= 1
            && env.emulator().calls(Action::OssPutObject) >= 1
    );
}
