//! What the stories of SDKs share: a home that is set up as we advise, the ways in which a
//! program is told where its credentials are, and programs that call when they are told to.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use e2e::{Kit, Process, UPLOAD, clients, program};
use serde_json::{Value, json};

/// What a program may not find in its environment, or it would not ask us.
pub(crate) const OTHER_WAYS: [&str; 16] = [
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

pub(crate) fn as_aws_profile(_: &Kit, command: &mut Command) -> u64 {
    command.env("AWS_PROFILE", "oss");
    0
}

pub(crate) fn as_metadata(kit: &Kit, command: &mut Command) -> u64 {
    command.env("ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT", url(kit));
    0
}

/// By its home alone: aliyun-cli's profile is found by the SDKs as well.
pub(crate) fn as_external(_: &Kit, command: &mut Command) -> u64 {
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
    pub(crate) at_start: u64,
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

/// Gives a program four lines, and waits for a rotation after each; it puts each into the
/// bucket, tells its key, and ends with its input. Returns the keys and the lines.
pub(crate) fn uploads_lines(
    kit: &Kit,
    mut command: Command,
    folder: &str,
) -> Vec<(String, String)> {
    at_home(kit, &mut command);
    by_exec(kit, &mut command);
    command.env("OSS_ENDPOINT", kit.oss());
    command.env("OSS_REGION", "cn-hongkong");
    command.env("OSS_BUCKET", "examplebucket");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let log = kit.path("upload.log");
    let mut process = Process::start(command, &log);
    let (mut lines, mut keys) = process.conversation();
    let mut uploaded = Vec::new();
    for number in 0..4 {
        let line = format!("line {number}\n");
        lines.write_all(line.as_bytes()).unwrap();
        let mut key = String::new();
        keys.read_line(&mut key).unwrap();
        let said = fs::read_to_string(&log).unwrap();
        assert_eq!(key, format!("{folder}/{number}\n"), "{said}");
        let before = held(kit);
        kit.wait_until("a rotation", || held(kit) != before);
        uploaded.push((key.trim().to_owned(), line));
    }
    drop(lines);
    assert_eq!(process.wait(), Some(0), "it ends with its input");
    assert_eq!(kit.calls("oss:PutObject"), 4);
    uploaded
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
