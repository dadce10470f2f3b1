//! The official SDKs, each with the configuration that suits it: the number of requests for
//! credentials that N calls cost, and the effect of a rotation.
//!
//! A session of an hour costs one request, and a rotation none, because the held session stays valid.
//! With sessions of seconds, nearly every SDK requests credentials at every call, because it refreshes
//! minutes before the expiration: 3 for a process of Alibaba's, 5 in obstore and the AWS SDK for
//! JavaScript, 15 in boto3 and for a URL. opendal refuses a remaining lifetime below two minutes, so its stories have sessions of hours;
//! oss2 refreshes at 15 % of the lifetime, once a session.

use std::{fs, process::Command, thread, time::Duration};

use e2e::{
    Action, SdkProgram, SetUp, TestEnv, aliyun_config, aws_js_program, held_key, in_exec,
    node_program, python_program, sdk_env, with_aws_profile, with_external_profile, with_metadata,
    with_written_aws_profile, without_variables,
};
use serde_json::Value;

/// The number of requests for credentials that calls cost.
#[derive(Clone, Copy, PartialEq)]
enum Cost {
    /// One for each call.
    Each,
    /// One for each call, and one more at the start.
    EachAndOne,
    /// One for each session.
    Once,
    /// Fewer than calls and at least one a session: the SDK has a minimum interval, or refreshes in the
    /// background.
    Fewer,
}

/// The calls so far, and their cost.
struct Bill {
    cost: Cost,
    calls: u64,
    asks: u64,
}

impl Bill {
    #[track_caller]
    fn add(&mut self, consumer: &mut SdkProgram<'_>, calls: u64) {
        self.asks += consumer.call(calls);
        self.calls += calls;
        match self.cost {
            Cost::Each => assert_eq!(self.asks, self.calls),
            Cost::EachAndOne => assert_eq!(self.asks, self.calls + 1),
            Cost::Once => assert!((1..=self.calls).contains(&self.asks), "{}", self.asks),
            // The first refresh in the background can end before the second call.
            Cost::Fewer => assert!((1..=self.calls + 1).contains(&self.asks), "{}", self.asks),
        }
    }
}

/// Asserts the cost with sessions of an hour, and a renewal in between. An SDK that caches until the
/// expiration has requested credentials once.
#[track_caller]
fn of_an_hour(command: fn(&TestEnv) -> Command, set_up: SetUp, cost: Cost) {
    let env = sdk_env(&[]);
    let config = aliyun_config(&env);
    let mut consumer = SdkProgram::start(&env, command(&env), set_up);
    let (mut calls, mut asks) = (0, consumer.served_at_start);
    let first = held_key(&env);
    for _ in 0..2 {
        asks += consumer.call(10);
        calls += 10;
        assert!(env.ctl(&["refresh", "oss-upload"]).status.success());
    }
    assert_ne!(held_key(&env), first, "a rotation");
    match cost {
        Cost::Once => assert_eq!(asks, 1),
        Cost::Each => assert_eq!(asks, calls),
        Cost::EachAndOne | Cost::Fewer => panic!("no SDK does so with an hour"),
    }
    assert!(aliyun_config(&env) == config, "config.json was written");
}

/// Asserts the cost with sessions of a few seconds, through three rotations.
#[track_caller]
fn of_seconds(command: fn(&TestEnv) -> Command, set_up: SetUp, cost: Cost) {
    // Half of the lifetime is left for a call. oss2 counts whole seconds, and refreshes at 15 %.
    let life = if cost == Cost::Once { "12s" } else { "8s" };
    let env = sdk_env(&["--session-life", life]);
    let config = aliyun_config(&env);
    let mut consumer = SdkProgram::start(&env, command(&env), set_up);
    let mut bill = Bill {
        cost,
        calls: 0,
        asks: consumer.served_at_start,
    };
    bill.add(&mut consumer, 1);
    let mut keys = vec![held_key(&env)];
    for _ in 0..900 {
        bill.add(&mut consumer, 5);
        let now = held_key(&env);
        if keys.last() != Some(&now) {
            keys.push(now);
        }
        if keys.len() == 4 {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(keys.len(), 4, "rotations");
    match cost {
        // Each request returns a new session.
        Cost::Once => assert!(
            (2..=env.emulator().calls(Action::AssumeRole)).contains(&bill.asks),
            "{}",
            bill.asks
        ),
        Cost::Fewer => assert!((3..bill.calls).contains(&bill.asks), "{}", bill.asks),
        Cost::Each | Cost::EachAndOne => {}
    }
    assert!(aliyun_config(&env) == config, "config.json was written");
}

fn sts_by_uri(env: &TestEnv) -> Command {
    python_program(env, "consumers.py", "sts-by-uri")
}

fn sts_by_chain(env: &TestEnv) -> Command {
    python_program(env, "consumers.py", "sts-by-chain")
}

#[test]
fn alibabacloud_sts_by_uri() {
    of_an_hour(sts_by_uri, without_variables, Cost::Once);
    of_seconds(sts_by_uri, without_variables, Cost::Each);
}

#[test]
fn alibabacloud_sts_by_the_default_chain() {
    of_an_hour(sts_by_chain, in_exec, Cost::Once);
    of_seconds(sts_by_chain, in_exec, Cost::Each);
}

#[test]
fn aliyun_python_sdk_sts() {
    let command = |env: &TestEnv| python_program(env, "consumers.py", "old-sts");
    of_an_hour(command, without_variables, Cost::Each);
    of_seconds(command, without_variables, Cost::Each);
}

#[test]
fn oss2_by_its_url_provider() {
    let command = |env: &TestEnv| python_program(env, "consumers.py", "oss2");
    of_an_hour(command, without_variables, Cost::Once);
    of_seconds(command, without_variables, Cost::Once);
}

#[test]
fn alibabacloud_oss_v2_by_uri() {
    let command = |env: &TestEnv| python_program(env, "consumers.py", "oss-v2");
    of_an_hour(command, without_variables, Cost::Once);
    of_seconds(command, without_variables, Cost::Each);
}

fn boto3(env: &TestEnv) -> Command {
    python_program(env, "consumers.py", "boto3")
}

#[test]
fn boto3_by_a_process() {
    of_an_hour(boto3, with_aws_profile, Cost::Once);
    of_seconds(boto3, with_aws_profile, Cost::EachAndOne);
}

#[test]
fn boto3_by_a_container() {
    of_an_hour(boto3, in_exec, Cost::Once);
    of_seconds(boto3, in_exec, Cost::EachAndOne);
}

/// The profile is what `stsctl setup aws` writes. The SDK refreshes beside its requests, so that several
/// of them use the same session.
#[test]
fn aws_sdk_for_javascript_by_a_process() {
    of_an_hour(aws_js_program, with_written_aws_profile, Cost::Once);
    of_seconds(aws_js_program, with_written_aws_profile, Cost::Fewer);
}

#[test]
fn aws_sdk_for_javascript_by_a_container() {
    fn in_exec_with_region(env: &TestEnv, command: &mut Command) -> u64 {
        command.env("AWS_REGION", "oss-cn-hongkong");
        in_exec(env, command)
    }
    of_an_hour(aws_js_program, in_exec_with_region, Cost::Once);
    of_seconds(aws_js_program, in_exec_with_region, Cost::Fewer);
}

#[test]
fn obstore_by_a_container() {
    let command = |env: &TestEnv| python_program(env, "consumers.py", "obstore");
    of_an_hour(command, in_exec, Cost::Once);
    // The minimum interval of obstore is a tenth of a second.
    of_seconds(command, in_exec, Cost::Fewer);
}

#[test]
fn opendal_by_metadata() {
    let command = |env: &TestEnv| python_program(env, "consumers.py", "opendal");
    of_an_hour(command, with_metadata, Cost::Once);
}

/// A client of other authors reads the emulator's metadata.
#[test]
fn opendal_accepts_the_emulated_instance_metadata() {
    fn of_the_instance(env: &TestEnv, command: &mut Command) -> u64 {
        command.env(
            "ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT",
            env.emulator().imds_url(),
        );
        0
    }
    let env = sdk_env(&[]);
    let command = python_program(&env, "consumers.py", "opendal");
    let mut consumer = SdkProgram::start(&env, command, of_the_instance);
    assert_eq!(consumer.call(3), 0, "requests to the daemon");
    assert_eq!(
        env.emulator().outcomes(Action::ImdsToken, "ok"),
        env.emulator().calls(Action::ImdsToken)
    );
    assert!(env.emulator().outcomes(Action::ImdsCredentials, "ok") > 0);
}

#[test]
fn ali_oss_by_alicloud_credentials_and_a_uri() {
    of_an_hour(
        |env| node_program(env, "uri", "1"),
        without_variables,
        Cost::Once,
    );
    of_seconds(
        |env| node_program(env, "uri", "1"),
        without_variables,
        Cost::EachAndOne,
    );
}

#[test]
fn ali_oss_by_alicloud_credentials_and_its_default_chain() {
    of_an_hour(|env| node_program(env, "chain", "1"), in_exec, Cost::Once);
    of_seconds(
        |env| node_program(env, "chain", "1"),
        in_exec,
        Cost::EachAndOne,
    );
}

#[test]
fn external_profile_serves_sdks_through_rotations() {
    for command in [sts_by_chain, |env: &TestEnv| {
        node_program(env, "chain", "1")
    }] {
        let env = sdk_env(&["--session-life", "8s"]);
        let mut consumer = SdkProgram::start(&env, command(&env), with_external_profile);
        consumer.call(1);
        for _ in 0..2 {
            let before = held_key(&env);
            env.wait_until("a rotation", || held_key(&env) != before);
            assert_eq!(consumer.call(5), 5);
        }
        fs::remove_file(env.path("home/.aliyun/config.json")).unwrap();
    }
}

/// The reason for which the documents recommend External for aliyun-cli only, and a URL for SDKs.
#[test]
fn sdk_writes_the_session_into_an_external_profile() {
    let env = sdk_env(&[]);
    let config = aliyun_config(&env);
    let mut consumer = SdkProgram::start(&env, sts_by_chain(&env), with_external_profile);
    assert_eq!(consumer.call(10), 1);
    let written = aliyun_config(&env);
    // Removed before the kit searches for secrets.
    fs::remove_file(env.path("home/.aliyun/config.json")).unwrap();
    assert!(
        written != config,
        "it was left alone: the advice can be another one"
    );
    let written: Value = serde_json::from_slice(&written).unwrap();
    let secret = written["profiles"][0]["access_key_secret"]
        .as_str()
        .unwrap();
    assert!(secret.starts_with("EmulatedSecret"), "it is in clear text");
    assert_eq!(written["profiles"][0]["mode"], "External");
}
