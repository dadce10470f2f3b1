//! The official SDKs, each with the way that suits it: what N calls cost in asks, and what a
//! rotation in the middle does to them.
//!
//! A session of an hour is what stsd is for: it costs one ask, and a rotation nothing, because
//! the one that is held stays good. A session of seconds is what tests have; nearly every SDK
//! has a window of minutes before the end (3 for a process of Alibaba's, 5 in obstore, 15 in
//! boto3 and for a URL) and asks at every call. That is the number to expect then, and each
//! call succeeds. opendal refuses what has less than two minutes left, so it is only told of
//! hours; oss2 has a window of 15 % and asks once a session.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use e2e::{Kit, Process, UPLOAD, clients, program};
use serde_json::{Value, json};

/// What a program may not find in its environment, or it would not ask us.
const OTHER_WAYS: [&str; 16] = [
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
    "ALIBABA_CLOUD_PROFILE",
    "OSS_ACCESS_KEY_ID",
    "OSS_ACCESS_KEY_SECRET",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_PROFILE",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// A world with a URL, and a home where aliyun-cli is set up as we advise.
pub(crate) fn world(emulator: &[&str]) -> Kit {
    let mut kit = Kit::without_daemon(emulator);
    let top = format!("{}[http]\nlisten = \"127.0.0.1:0\"\n", kit.endpoint());
    kit.write_config_with(&top, UPLOAD);
    kit.start_daemon();
    for directory in ["home", "home/.aliyun", "home/.aws"] {
        fs::create_dir(kit.path(directory)).unwrap();
    }
    let line = kit.shim_line("oss-upload");
    // Written as no program would write it, so that one that writes it anew is seen.
    let aliyun = format!(
        "{{ \"current\": \"stsd\",\n  \"profiles\": [ {{\"mode\": \"External\", \"name\": \"stsd\", \
         \"process_command\": \"{line}\", \"region_id\": \"cn-hongkong\", \"output_format\": \"json\", \
         \"language\": \"en\"}} ],\n  \"meta_path\": \"\" }}\n"
    );
    kit.write("home/.aliyun/config.json", &aliyun, 0o600);
    let aws = format!("[profile oss]\ncredential_process = {line}\n");
    kit.write("home/.aws/config", &aws, 0o600);
    kit
}

pub(crate) fn url(kit: &Kit) -> String {
    kit.client()
        .url("oss-upload")
        .unwrap()
        .url
        .expose()
        .to_owned()
}

pub(crate) fn aliyun_config(kit: &Kit) -> Vec<u8> {
    fs::read(kit.path("home/.aliyun/config.json")).unwrap()
}

/// Gives a program our home, and nothing that would keep it from asking us.
pub(crate) fn at_home(kit: &Kit, command: &mut Command) {
    for name in OTHER_WAYS {
        command.env_remove(name);
    }
    command.env("HOME", kit.path("home"));
    command.env("STORY_URL", url(kit));
}

/// How a program is told where its credentials are; returns how often that asks by itself.
pub(crate) type SetUp = fn(&Kit, &mut Command) -> u64;

/// In `stsctl exec`, which tells it by its environment.
pub(crate) fn by_exec(kit: &Kit, command: &mut Command) -> u64 {
    let mut exec = Command::new(program("stsctl"));
    exec.arg("--socket").arg(kit.socket());
    exec.args(["exec", "oss-upload", "--"]);
    exec.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => exec.env(name, value),
            None => exec.env_remove(name),
        };
    }
    *command = exec;
    1
}

fn as_aws_profile(_: &Kit, command: &mut Command) -> u64 {
    command.env("AWS_PROFILE", "oss");
    0
}

fn as_metadata(kit: &Kit, command: &mut Command) -> u64 {
    command.env("ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT", url(kit));
    0
}

/// By its home alone: aliyun-cli's profile is found by the SDKs as well.
fn as_external(_: &Kit, command: &mut Command) -> u64 {
    command.env("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true");
    0
}

pub(crate) fn as_told(_: &Kit, _: &mut Command) -> u64 {
    0
}

pub(crate) fn python(kit: &Kit, script: &str, consumer: &str) -> Command {
    let mut command = Command::new(clients().join("python/bin/python"));
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("clients/python")
        .join(script);
    command.arg(script).arg(consumer);
    command.args(["--sts", kit.sts(), "--oss", kit.oss()]);
    command.arg("--shim").arg(kit.shim_line("oss-upload"));
    command
}

/// ali-oss knows of no expiration, only of an interval in milliseconds.
pub(crate) fn node(kit: &Kit, consumer: &str, interval: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(clients().join("node/consumers.mjs"));
    command.args([consumer, kit.oss(), interval]);
    command
}

/// A program that calls when it is told to.
pub(crate) struct Consumer<'a> {
    kit: &'a Kit,
    _process: Process,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// What getting ready has cost.
    at_start: u64,
}

impl<'a> Consumer<'a> {
    pub(crate) fn start(kit: &'a Kit, command: Command, set_up: SetUp) -> Self {
        Self::start_with(kit, command, set_up, &[])
    }

    /// Starts it with variables that it would not have at home.
    pub(crate) fn start_with(
        kit: &'a Kit,
        mut command: Command,
        set_up: SetUp,
        variables: &[(&str, &str)],
    ) -> Self {
        at_home(kit, &mut command);
        let besides = set_up(kit, &mut command);
        command.envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(command, &kit.path("consumer.log"));
        let (orders, answers) = process.conversation();
        let mut consumer = Self {
            kit,
            _process: process,
            orders,
            answers,
            at_start: 0,
        };
        consumer.calls(0);
        consumer.at_start = asks(kit) - besides;
        consumer
    }

    /// Lets it call so many times, each of which must succeed; returns what that cost in
    /// asks of the daemon.
    #[track_caller]
    pub(crate) fn calls(&mut self, count: u64) -> u64 {
        let before = asks(self.kit);
        let answer = self.tries(count);
        assert_eq!(answer, json!({"calls": count}), "{}", self.log());
        asks(self.kit) - before
    }

    /// Lets it call so many times; returns what it says of it.
    #[track_caller]
    pub(crate) fn tries(&mut self, count: u64) -> Value {
        writeln!(self.orders, "{count}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        self.kit
            .must_be_clean("a consumer's stdout", line.as_bytes());
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}{}", self.log()))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.kit.path("consumer.log")).unwrap()
    }
}

/// How often the daemon has handed credentials out.
pub(crate) fn asks(kit: &Kit) -> u64 {
    kit.client().status().unwrap().profiles[0].hand_outs
}

/// The AccessKey id of the session that the daemon holds.
pub(crate) fn held(kit: &Kit) -> Option<String> {
    kit.client().status().unwrap().profiles[0]
        .access_key_id
        .clone()
}

/// What a number of calls costs in asks.
#[derive(Clone, Copy, PartialEq)]
enum Cost {
    /// One each.
    Each,
    /// One each, and one more at the start.
    EachAndOne,
    /// One for all of them, until the session that is held comes to its end.
    Once,
    /// Fewer than calls and at least one a session: it rests between two asks.
    Fewer,
}

/// Counts what calls cost.
struct Bill {
    cost: Cost,
    calls: u64,
    asks: u64,
}

impl Bill {
    #[track_caller]
    fn add(&mut self, consumer: &mut Consumer<'_>, calls: u64) {
        self.asks += consumer.calls(calls);
        self.calls += calls;
        match self.cost {
            Cost::Each => assert_eq!(self.asks, self.calls),
            Cost::EachAndOne => assert_eq!(self.asks, self.calls + 1),
            Cost::Once | Cost::Fewer => {
                assert!((1..=self.calls).contains(&self.asks), "{}", self.asks);
            }
        }
    }
}

/// With sessions of an hour, and a renewal in the middle. Whoever asks only when it has to
/// has asked once when all is over.
#[track_caller]
fn of_an_hour(command: fn(&Kit) -> Command, set_up: SetUp, cost: Cost) {
    let kit = world(&[]);
    let config = aliyun_config(&kit);
    let mut consumer = Consumer::start(&kit, command(&kit), set_up);
    let (mut calls, mut asks) = (0, consumer.at_start);
    let first = held(&kit);
    for _ in 0..2 {
        asks += consumer.calls(10);
        calls += 10;
        assert!(kit.ctl(&["refresh", "oss-upload"]).status.success());
    }
    assert_ne!(held(&kit), first, "a rotation");
    match cost {
        Cost::Once => assert_eq!(asks, 1),
        Cost::Each => assert_eq!(asks, calls),
        Cost::EachAndOne | Cost::Fewer => panic!("no SDK does so with an hour"),
    }
    assert!(aliyun_config(&kit) == config, "config.json was written");
}

/// With sessions of a few seconds, through three rotations.
#[track_caller]
fn of_seconds(command: fn(&Kit) -> Command, set_up: SetUp, cost: Cost) {
    // oss2 counts whole seconds, and begins to look for a new one when 15 % are left.
    let life = if cost == Cost::Once { "8s" } else { "4s" };
    let kit = world(&["--session-life", life]);
    let config = aliyun_config(&kit);
    let mut consumer = Consumer::start(&kit, command(&kit), set_up);
    let mut bill = Bill {
        cost,
        calls: 0,
        asks: consumer.at_start,
    };
    bill.add(&mut consumer, 1);
    let mut keys = vec![held(&kit)];
    for _ in 0..300 {
        bill.add(&mut consumer, 5);
        let now = held(&kit);
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
        // Each time it asks there is a new one for it.
        Cost::Once => assert!(
            (2..=kit.calls("AssumeRole")).contains(&bill.asks),
            "{}",
            bill.asks
        ),
        Cost::Fewer => assert!((3..bill.calls).contains(&bill.asks), "{}", bill.asks),
        Cost::Each | Cost::EachAndOne => {}
    }
    assert!(aliyun_config(&kit) == config, "config.json was written");
}

fn sts_by_uri(kit: &Kit) -> Command {
    python(kit, "consumers.py", "sts-by-uri")
}

fn sts_by_chain(kit: &Kit) -> Command {
    python(kit, "consumers.py", "sts-by-chain")
}

#[test]
fn alibabacloud_sts_by_uri() {
    of_an_hour(sts_by_uri, as_told, Cost::Once);
    of_seconds(sts_by_uri, as_told, Cost::Each);
}

#[test]
fn alibabacloud_sts_by_the_default_chain() {
    of_an_hour(sts_by_chain, by_exec, Cost::Once);
    of_seconds(sts_by_chain, by_exec, Cost::Each);
}

#[test]
fn aliyun_python_sdk_sts() {
    let command = |kit: &Kit| python(kit, "consumers.py", "old-sts");
    of_an_hour(command, as_told, Cost::Each);
    of_seconds(command, as_told, Cost::Each);
}

#[test]
fn oss2_by_its_provider_of_a_url() {
    let command = |kit: &Kit| python(kit, "consumers.py", "oss2");
    of_an_hour(command, as_told, Cost::Once);
    of_seconds(command, as_told, Cost::Once);
}

#[test]
fn alibabacloud_oss_v2_by_uri() {
    let command = |kit: &Kit| python(kit, "consumers.py", "oss-v2");
    of_an_hour(command, as_told, Cost::Once);
    of_seconds(command, as_told, Cost::Each);
}

fn boto3(kit: &Kit) -> Command {
    python(kit, "consumers.py", "boto3")
}

#[test]
fn boto3_by_a_process() {
    of_an_hour(boto3, as_aws_profile, Cost::Once);
    of_seconds(boto3, as_aws_profile, Cost::EachAndOne);
}

#[test]
fn boto3_by_a_container() {
    of_an_hour(boto3, by_exec, Cost::Once);
    of_seconds(boto3, by_exec, Cost::EachAndOne);
}

#[test]
fn obstore_by_a_container() {
    let command = |kit: &Kit| python(kit, "consumers.py", "obstore");
    of_an_hour(command, by_exec, Cost::Once);
    // It rests for a tenth of a second after an ask.
    of_seconds(command, by_exec, Cost::Fewer);
}

#[test]
fn opendal_by_metadata() {
    let command = |kit: &Kit| python(kit, "consumers.py", "opendal");
    of_an_hour(command, as_metadata, Cost::Once);
}

#[test]
fn ali_oss_by_alicloud_credentials_and_a_uri() {
    of_an_hour(|kit| node(kit, "uri", "1"), as_told, Cost::Once);
    of_seconds(|kit| node(kit, "uri", "1"), as_told, Cost::EachAndOne);
}

#[test]
fn ali_oss_by_alicloud_credentials_and_its_default_chain() {
    of_an_hour(|kit| node(kit, "chain", "1"), by_exec, Cost::Once);
    of_seconds(|kit| node(kit, "chain", "1"), by_exec, Cost::EachAndOne);
}

#[test]
fn an_external_profile_serves_sdks_through_rotations() {
    for command in [sts_by_chain, |kit: &Kit| node(kit, "chain", "1")] {
        let kit = world(&["--session-life", "4s"]);
        let mut consumer = Consumer::start(&kit, command(&kit), as_external);
        consumer.calls(1);
        for _ in 0..2 {
            let before = held(&kit);
            kit.wait_until("a rotation", || held(&kit) != before);
            assert_eq!(consumer.calls(5), 5);
        }
        fs::remove_file(kit.path("home/.aliyun/config.json")).unwrap();
    }
}

/// Why External is for aliyun-cli, and SDKs are better off with a URL.
#[test]
fn an_sdk_that_finds_an_external_profile_writes_the_session_into_it() {
    let kit = world(&[]);
    let config = aliyun_config(&kit);
    let mut consumer = Consumer::start(&kit, sts_by_chain(&kit), as_external);
    assert_eq!(consumer.calls(10), 1);
    let written = aliyun_config(&kit);
    // Removed before the watch over secrets finds it.
    fs::remove_file(kit.path("home/.aliyun/config.json")).unwrap();
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
